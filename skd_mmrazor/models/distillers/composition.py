"""Which distiller SKD is added to."""

import functools
from typing import Any

from mmrazor.models.architectures.connectors import BYOTConnector
from mmrazor.models.distillers import BYOTDistiller, ConfigurableDistiller, OFDDistiller
from mmrazor.models.losses import OFDLoss
from mmrazor.registry import MODELS

from ...utils import expect, naming

# These work with the distiller of their method only, so a config that has them
# had that distiller before ``type='SKDDistiller'`` took its place.
_DISTILLERS = {OFDLoss: OFDDistiller, BYOTConnector: BYOTDistiller}


def find_base(base: str | None, kwargs: dict[str, Any]) -> type[ConfigurableDistiller]:
    """The distiller that a config would have without SKD.

    Args:
        base (str, optional): Its name in the registry, where the config says it.
        kwargs (dict): The arguments of a ``ConfigurableDistiller``.

    Returns:
        type[ConfigurableDistiller]: The distiller's class.

    Raises:
        ValueError: There is no such distiller, or no such type.
    """
    if base is not None:
        found = _get('distiller.base', base)
        valid = isinstance(found, type) and issubclass(found, ConfigurableDistiller)
        expect(valid, 'distiller.base', base, 'the registered name of a ConfigurableDistiller')
        return found
    for part in ('distill_losses', 'connectors'):
        configs = kwargs.get(part)
        # Whatever is no config here is found, and named, when it is built.
        for name, cfg in configs.items() if isinstance(configs, dict) else ():
            kind = cfg.get('type') if isinstance(cfg, dict) else None
            kind = _get(f'distiller.{part}.{name}.type', kind)
            if isinstance(kind, type) and kind in _DISTILLERS:
                return _DISTILLERS[kind]
    return ConfigurableDistiller


def _get(key: str, kind: Any) -> Any:
    with naming(key, kind, 'a registered name'):
        return MODELS.get(kind) if isinstance(kind, str) else kind


@functools.cache
def compose(skd: type, base: type) -> type:
    """A class that is both, in which SKD comes first.

    Args:
        skd (type): ``SKDDistiller`` or a subclass.
        base (type): A ``ConfigurableDistiller``.

    Returns:
        type: ``skd`` itself where it is a ``base`` already.
    """
    if issubclass(skd, base):
        return skd
    namespace = {'__doc__': skd.__doc__, '__module__': skd.__module__}
    return type(f'{skd.__name__}With{base.__name__}', (skd, base), namespace)

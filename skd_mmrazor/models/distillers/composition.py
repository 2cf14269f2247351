"""Which distiller SKD is added to."""

import functools
from typing import Any

from mmrazor.models.architectures.connectors import BYOTConnector
from mmrazor.models.distillers import BYOTDistiller, ConfigurableDistiller, OFDDistiller
from mmrazor.models.losses import OFDLoss
from mmrazor.registry import MODELS

from ...utils import expect

# These work with the distiller of their method only, so a config that has them
# had that distiller before ``type='SKDDistiller'`` took its place.
_DISTILLERS = {OFDLoss: OFDDistiller, BYOTConnector: BYOTDistiller}


def find_base(base: str | None, parts: dict[str, Any]) -> type[ConfigurableDistiller]:
    """The distiller that a config would have without SKD.

    Args:
        base (str, optional): Its name in the registry, where the config says it.
        parts (dict): The configs of the losses and connectors, by name.

    Returns:
        type[ConfigurableDistiller]: The distiller's class.

    Raises:
        ValueError: There is no such distiller.
    """
    if base is not None:
        found = MODELS.get(base) if isinstance(base, str) else None
        valid = isinstance(found, type) and issubclass(found, ConfigurableDistiller)
        expect(valid, 'distiller.base', base, 'the registered name of a ConfigurableDistiller')
        return found
    for cfg in parts.values():
        kind = cfg.get('type') if isinstance(cfg, dict) else None
        kind = MODELS.get(kind) if isinstance(kind, str) else kind
        if kind in _DISTILLERS:
            return _DISTILLERS[kind]
    return ConfigurableDistiller


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

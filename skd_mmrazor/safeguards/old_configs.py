"""Refuses configs of mmrazor 0.x, which mmrazor 1.x cannot read."""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.config import Config

from ..compat.patches import safeguards

# Types that only mmrazor 0.x registered, by their key in the config of an algorithm.
_OLD = {
    'architecture': ('MMClsArchitecture', 'MMDetArchitecture', 'MMSegArchitecture'),
    'distiller': ('SingleTeacherDistiller', 'SelfDistiller'),
}
_ALGORITHMS = ('GeneralDistill', 'AlignMethodDistill')


@safeguards.replacing(
    'mmengine.config.Config.fromfile',
    reason='a config of mmrazor 0.x ends in an error about a missing key of mmengine',
)
def refuse_old_configs(original: Callable) -> Callable:
    """Says what the parts of the config are called in mmrazor 1.x."""

    @functools.wraps(original)
    def fromfile(filename: Any, *args: Any, **kwargs: Any) -> Config:
        cfg = original(filename, *args, **kwargs)
        name = _find_old_name(cfg)
        if name:
            raise ValueError(
                f'{str(filename)!r}: {name} is of mmrazor 0.x, expected a config of mmrazor 1.x, '
                "in which algorithm is model=dict(type='SingleTeacherDistill'), its "
                'architecture.model is architecture, distiller.teacher is teacher, and '
                'distiller.components are the recorders, distill_losses and '
                'loss_forward_mappings of the distiller; docs/mmrazor_0x.md shows one converted.'
            )
        return cfg

    return fromfile


def _find_old_name(cfg: Config) -> str:
    """The first part of a config that is of mmrazor 0.x, or '' if there is none."""
    for key in ('algorithm', 'model'):
        algorithm = cfg.get(key)
        if not isinstance(algorithm, dict):
            continue
        if _get_type(algorithm) in _ALGORITHMS:
            return f'{key}.type={_get_type(algorithm)!r}'
        for part, names in _OLD.items():
            name = _get_type(algorithm.get(part))
            if name in names:
                return f'{key}.{part}.type={name!r}'
    return ''


def _get_type(part: Any) -> str:
    name = part.get('type', '') if isinstance(part, dict) else ''
    return name.split('.')[-1] if isinstance(name, str) else ''

"""Refuses configs of mmrazor 0.x, which mmrazor 1.x cannot read."""

import re
from collections.abc import Callable
from typing import Any

from mmengine.config import Config

from ..compat.patches import safeguards

# Of types that only mmrazor 0.x registered.
_OLD_TYPE = re.compile(
    r"'type': '(?:\w+\.)*((?:General|AlignMethod)Distill|MM(?:Cls|Det|Seg)Architecture|"
    r"(?:SingleTeacher|Self)Distiller)'"
)


@safeguards.wrapping('mmengine.config.Config.fromfile')
def refuse_old_configs(original: Callable, filename: Any, *args: Any, **kwargs: Any) -> Config:
    """Says what the parts of the config are called in mmrazor 1.x.

    Why: a config of mmrazor 0.x ends in an error about a missing key of mmengine.
    """
    cfg = original(filename, *args, **kwargs)
    for key in ('algorithm', 'model'):
        if old := _OLD_TYPE.search(repr(cfg.get(key))):
            raise ValueError(
                f'{str(filename)!r}: {key} has type={old[1]!r} of mmrazor 0.x, expected a '
                'config of mmrazor 1.x, in which algorithm is model=dict(type='
                "'SingleTeacherDistill'), its architecture.model is architecture, "
                'distiller.teacher is teacher, and distiller.components are the recorders, '
                'distill_losses and loss_forward_mappings of the distiller; '
                'docs/mmrazor_0x.md shows one converted.'
            )
    return cfg

"""Settings of an algorithm or a hook that mmrazor silently ignores, also without SKD."""

import functools
from collections.abc import Callable
from typing import Any

from ..compat.algorithms import ALGORITHMS, check_if
from ..compat.patches import safeguards
from ..utils import expect, is_number


@safeguards.replacing(
    *(f'mmrazor.models.{name}.__init__' for name in ALGORITHMS),
    reason="also without SKD, the teacher's own `data_preprocessor` and the student's are silently "
    'ignored',
)
def check_without_skd(original: Callable) -> Callable:
    """Applies or refuses the ignored settings of an algorithm without a simplifier."""
    return check_if(False, original)


@safeguards.replacing(
    'mmrazor.engine.StopDistillHook.__init__',
    reason='`stop_epoch=-5` switches distillation off before it has begun',
)
def check_stop_epoch(original: Callable) -> Callable:
    """Expects an epoch."""

    @functools.wraps(original)
    def init(self: Any, stop_epoch: Any) -> None:
        valid = is_number(stop_epoch) and stop_epoch >= 0
        expect(valid, 'StopDistillHook: stop_epoch', stop_epoch, 'the number of an epoch')
        original(self, stop_epoch)

    return init

"""Settings of an algorithm or a hook that mmrazor silently ignores, also without SKD."""

from collections.abc import Callable
from typing import Any

from ..compat.algorithms import ALGORITHMS, check_if
from ..compat.patches import safeguards
from ..utils import expect, is_number


@safeguards.wrapping(
    *(f'mmrazor.models.{name}.__init__' for name in ALGORITHMS),
)
def check_without_skd(*call: Any, **arguments: Any) -> None:
    """Applies or refuses the ignored settings of an algorithm without a simplifier.

    Why: also without SKD, the teacher's own `data_preprocessor` and the student's are silently
    ignored.
    """
    check_if(False, *call, **arguments)


@safeguards.wrapping('mmrazor.engine.StopDistillHook.__init__')
def check_stop_epoch(original: Callable, self: Any, *args: Any, **kwargs: Any) -> None:
    """Expects an epoch.

    Why: `stop_epoch=-5` switches distillation off before it has begun.
    """
    original(self, *args, **kwargs)
    valid = is_number(self.stop_epoch) and self.stop_epoch >= 0
    expect(valid, 'StopDistillHook: stop_epoch', self.stop_epoch, 'the number of an epoch')

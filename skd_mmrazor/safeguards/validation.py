"""mmrazor's validation of student and teacher, with one call of each hook.

``SingleTeacherDistillValLoop`` calls ``before_val_epoch`` twice and
``after_val_epoch`` once. mmengine's ``EMAHook`` swaps the weights at each call: after
the first validation, training silently continues with the averaged weights, and the
trained ones are kept as the average.
"""

from collections.abc import Callable
from typing import Any

from ..compat.patches import safeguards
from ..engine.runner.frozen_teacher_val_loop import validate, validate_teacher


@safeguards.wrapping(
    'mmrazor.engine.SingleTeacherDistillValLoop.run',
    link='https://github.com/open-mmlab/mmrazor/pull/421',
)
def validate_once_for_the_hooks(original: Callable, self: Any) -> dict:
    """Calls each hook once, and returns the metrics.

    Why: `before_val_epoch` is called twice, so that `EMAHook` trains the average from the first
    validation on. `FrozenTeacherValLoop` does not need it.
    """
    return validate(self, validate_teacher)

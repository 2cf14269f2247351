"""mmrazor's validation of student and teacher, once for the hooks.

``SingleTeacherDistillValLoop`` calls ``before_val_epoch`` twice and
``after_val_epoch`` once. mmengine's ``EMAHook`` swaps the weights at each: after
the first validation the average is what trains on, and the weights that were
trained are what is kept as the average, without a message.
"""

from collections.abc import Callable
from typing import Any

from mmengine.runner import ValLoop


def balance_distill_val_loop() -> None:
    """Replaces the loop's ``run``, which also returns its metrics then."""
    # Not at the top: mmrazor can be imported once its quantization is off.
    from mmrazor.engine import SingleTeacherDistillValLoop

    SingleTeacherDistillValLoop.run = _run
    SingleTeacherDistillValLoop.run_teacher = _run_teacher


def _run(self: Any) -> dict:
    """Validates the student, then the teacher on the same data.

    Returns:
        dict: The student's metrics, and the teacher's with ``teacher.`` before
        their names.
    """
    self.runner.call_hook('before_val')
    self.runner.call_hook('before_val_epoch')
    self.runner.model.eval()
    metrics = _evaluate(self, self.run_iter)
    metrics.update(self.run_teacher())
    self.runner.call_hook('after_val_epoch', metrics=metrics)
    self.runner.call_hook('after_val')
    return metrics


def _run_teacher(self: Any) -> dict:
    """The teacher's part, which a subclass may replace."""
    metrics = _evaluate(self, self.run_iter_teacher)
    return {f'teacher.{name}': value for name, value in metrics.items()}


def _evaluate(self: ValLoop, run_iter: Callable) -> dict:
    for idx, data_batch in enumerate(self.dataloader):
        run_iter(idx, data_batch)
    return self.evaluator.evaluate(len(self.dataloader.dataset))

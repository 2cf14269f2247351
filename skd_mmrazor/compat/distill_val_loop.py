"""mmrazor's validation of student and teacher, once for the hooks.

``SingleTeacherDistillValLoop`` calls ``before_val_epoch`` twice and
``after_val_epoch`` once. mmengine's ``EMAHook`` swaps the weights at each: after
the first validation the average is what trains on, and the weights that were
trained are what is kept as the average, without a message.
"""

from mmengine.runner import ValLoop


def balance_distill_val_loop() -> None:
    """Replaces the loop's ``run``, which also returns its metrics then."""
    # Not at the top: mmrazor can be imported once its quantization is off.
    from mmrazor.engine import SingleTeacherDistillValLoop

    SingleTeacherDistillValLoop.run = _run


def _run(self: ValLoop) -> dict:
    """Validates the student, then the teacher on the same data.

    Returns:
        dict: The student's metrics, and the teacher's with ``teacher.`` before
        their names.
    """
    self.runner.call_hook('before_val')
    self.runner.call_hook('before_val_epoch')
    self.runner.model.eval()
    metrics = {}
    for prefix, run_iter in (('', self.run_iter), ('teacher.', self.run_iter_teacher)):
        for idx, data_batch in enumerate(self.dataloader):
            run_iter(idx, data_batch)
        results = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics.update({prefix + name: value for name, value in results.items()})
    self.runner.call_hook('after_val_epoch', metrics=metrics)
    self.runner.call_hook('after_val')
    return metrics

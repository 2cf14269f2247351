"""Validation that evaluates a frozen teacher only once."""

import contextlib
import hashlib
import os
import os.path as osp
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop, autocast
from mmrazor.engine import SingleTeacherDistillValLoop
from mmrazor.registry import LOOPS
from torch import nn

from ...utils import expect
from ..fingerprints import hash_model
from ..utils import get_model

_KEPT = 'teacher_metrics'
# Attributes of metrics that say where to write: mmengine's out_file_path, mmdet's
# outfile_prefix, mmseg's output_dir.
_OUTPUT = re.compile('out|dump|save')


@LOOPS.register_module()
class FrozenTeacherValLoop(SingleTeacherDistillValLoop):
    """mmrazor's validation of student and teacher, which keeps the teacher's metrics.

    ``SingleTeacherDistillValLoop`` runs the teacher over the whole validation
    set whenever the student is validated. Here its metrics are kept in the
    message hub, and so in checkpoints, and logged each time under the same
    names (``teacher.accuracy/top1``). They are computed again when the weights
    of the teacher, the config of the model, the validation data or the metrics have
    changed.

    Each hook is called once, and sees the student alone: mmrazor's loop calls
    ``before_val_epoch`` twice, at which ``EMAHook`` swaps the weights, and shows the
    teacher's predictions to hooks that draw them. Files that a metric writes for the
    teacher, as ``DumpResults`` does, have ``teacher.`` before their names.

    mmengine saves a checkpoint before it validates, so a checkpoint from before the
    first validation has no teacher metrics.

    Args:
        runner (Runner): The runner.
        dataloader (DataLoader or dict): The validation data, or its config.
        evaluator (Evaluator, dict or list): The metrics, or their config.
        fp16 (bool): Whether to validate in half precision. Defaults to False.
        evaluate_teacher (str): ``'once'``, ``'always'`` (as mmrazor does) or
            ``'never'``. Defaults to ``'once'``.

    Raises:
        ValueError: ``evaluate_teacher`` is something else, or is ``'once'`` for
            a teacher that changes; or the runner has not built the model.

    Examples:
        >>> val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        evaluator: Any,
        fp16: bool = False,
        evaluate_teacher: str = 'once',
    ) -> None:
        # A FlexibleRunner has none until it trains.
        built = isinstance(runner.model, nn.Module)
        runner_type, expected = type(runner).__name__, "'Runner', or val_cfg.type='ValLoop'"
        expect(built, 'FrozenTeacherValLoop: runner_type', runner_type, expected)
        super().__init__(runner, dataloader, evaluator, fp16)
        known = evaluate_teacher in ('once', 'always', 'never')
        key, model = 'val_cfg.evaluate_teacher', get_model(runner)
        expect(known, key, evaluate_teacher, "'once', 'always' or 'never'")
        for name, frozen in (('teacher_trainable', False), ('teacher_norm_eval', True)):
            found = getattr(model, name, frozen)
            valid = evaluate_teacher != 'once' or found == frozen
            expect(valid, key, evaluate_teacher, f"'always' or 'never' with model.{name}={found}")
        self.evaluate_teacher = evaluate_teacher

    def run(self) -> dict:
        """Validates the student and, where necessary, the teacher.

        Returns:
            dict: The student's metrics, and the teacher's with ``teacher.`` before
            their names.
        """
        return validate(self, type(self)._get_teacher_metrics)

    def _get_teacher_metrics(self) -> dict:
        if self.evaluate_teacher == 'never':
            return {}
        if self.evaluate_teacher == 'always':
            return validate_teacher(self)
        fingerprint = self._fingerprint()
        kept = self.runner.message_hub.get_info(_KEPT, {})
        if kept.get('fingerprint') != fingerprint:
            kept = dict(fingerprint=fingerprint, metrics=validate_teacher(self))
            self.runner.message_hub.update_info(_KEPT, kept)
        return kept['metrics']

    def _fingerprint(self) -> str:
        """Hashes everything that the teacher's metrics depend on."""
        cfg = self.runner.cfg
        keys = ('model', 'data_preprocessor', 'val_dataloader', 'val_evaluator')
        settings = (*map(cfg.get, keys), self.fp16, hash_model(self.teacher))
        return hashlib.sha256(repr(settings).encode()).hexdigest()


def validate(loop: ValLoop, get_teacher_metrics: Callable[[Any], dict]) -> dict:
    """Validates student and teacher as one epoch, so that each hook is called once.

    Args:
        loop (ValLoop): The loop, whose model is the student.
        get_teacher_metrics (Callable): Validates the teacher of the loop.

    Returns:
        dict: All metrics.
    """
    loop.runner.call_hook('before_val')
    loop.runner.call_hook('before_val_epoch')
    loop.runner.model.eval()
    for idx, data_batch in enumerate(loop.dataloader):
        loop.run_iter(idx, data_batch)
    metrics = loop.evaluator.evaluate(len(loop.dataloader.dataset))
    metrics = {**metrics, **get_teacher_metrics(loop)}
    loop.runner.call_hook('after_val_epoch', metrics=metrics)
    loop.runner.call_hook('after_val')
    return metrics


@torch.no_grad()
def validate_teacher(loop: SingleTeacherDistillValLoop) -> dict:
    """Validates the teacher on the data of the student, without calling hooks.

    Args:
        loop (SingleTeacherDistillValLoop): The loop.

    Returns:
        dict: Its metrics, with ``teacher.`` before their names.
    """
    with _writing_for_teacher(loop.evaluator):
        for data_batch in loop.dataloader:
            with autocast(enabled=loop.fp16):
                outputs = loop.teacher.val_step(data_batch)
            loop.evaluator.process(data_samples=outputs, data_batch=data_batch)
        metrics = loop.evaluator.evaluate(len(loop.dataloader.dataset))
    return {f'teacher.{name}': value for name, value in metrics.items()}


@contextlib.contextmanager
def _writing_for_teacher(evaluator: Evaluator) -> Iterator[None]:
    """Puts ``teacher.`` before the names of the files that metrics write meanwhile."""
    # Not in copies of the metrics: some of mmdet's empty their folder when they are deleted.
    replaced = []
    for metric in evaluator.metrics:
        for name, path in vars(metric).items():
            if _OUTPUT.search(name) and isinstance(path, str) and path:
                replaced.append((metric, name, path))
    try:
        for metric, name, path in replaced:
            folder, file = osp.split(path.rstrip('/'))
            new = osp.join(folder, f'teacher.{file}')
            if osp.isdir(path):  # Made by the metric when it was built.
                os.makedirs(new, exist_ok=True)
            setattr(metric, name, new)
        yield
    finally:
        for metric, name, path in replaced:
            setattr(metric, name, path)

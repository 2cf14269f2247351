"""Checkpoints that do not fit the model they are loaded into are errors.

mmengine and mmrazor load with ``strict=False``: what does not fit stays random,
and one warning in the log is all that is seen. Here the student and the teacher
of a distillation are judged each by itself, a model without a teacher as a whole.

================================  ==============================================
loaded for                        what has to fit
================================  ==============================================
test and validation               every parameter and buffer of student and teacher
``resume``                        every parameter and buffer of the model
``teacher_ckpt``                  every parameter and buffer of the teacher
training, by ``load_from``        some weight of the student, some of the teacher
``init_cfg`` of ``'Pretrained'``  some weight of the module
================================  ==============================================

Training may begin with part of a model, such as everything except the head. A bias
may have the right length by chance, so only weights of two or more dimensions count
as part of it. A teacher that ``teacher_ckpt`` has loaded need not be in the checkpoint.
"""

import pickle
import weakref
from collections.abc import Callable
from typing import Any

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ..compat.patches import safeguards
from ..engine.hooks import SimplifierMigrationHook
from .loaded_tensors import LoadedTensors, get_weights, load_whole

_LOADED_TEACHERS: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def _get_parts(model: Any) -> dict[str, str]:
    """Where in the model each part is that is judged by itself."""
    if not hasattr(model, 'distiller'):
        return {'model': ''}
    parts = {'student': 'architecture.'}
    if hasattr(model, 'teacher'):
        parts['teacher'] = 'teacher.'
    several = getattr(model, 'teachers', {})
    return parts | {f'teacher {name!r}': f'teachers.{name}.' for name in several}


@safeguards.wrapping('mmengine.runner.Runner.load_checkpoint')
def load_what_fits(
    original: Callable, self: Runner, filename: str, *args: Any, **kwargs: Any
) -> dict:
    """Checks what ``load_from``, testing and resuming have loaded.

    Why: a checkpoint that does not fit leaves the model random, with a warning. The runner of a
    distillation also gets `SimplifierMigrationHook`.
    """
    model: Any = self.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    known = any(isinstance(hook, SimplifierMigrationHook) for hook in self.hooks)
    if hasattr(model, 'distiller') and not known:
        self.register_hook(SimplifierMigrationHook())
    tensors = LoadedTensors(model, f'load_from={filename!r}')
    checkpoint = original(self, filename, *args, **kwargs)
    trains = isinstance(self._train_loop, BaseLoop)
    evaluates = isinstance(self._val_loop, BaseLoop) or isinstance(self._test_loop, BaseLoop)
    whole = self._resume or (evaluates and not trains)
    names = get_weights(checkpoint)
    for part, prefix in _get_parts(model).items():
        is_loaded = model.get_submodule(prefix.rstrip('.')) in _LOADED_TEACHERS
        if not is_loaded or any(name.startswith(prefix) for name in names):
            tensors.expect_fit(part, prefix, checkpoint, whole)
    if self._resume:
        tensors.expect_fit('model', checkpoint=checkpoint)
    return checkpoint


@safeguards.wrapping('mmengine.runner.Runner.resume')
def resume_whole_model(
    original: Callable, self: Runner, filename: str, *args: Any, **kwargs: Any
) -> None:
    """Expects all of the model, and names the file in errors.

    Why: a run resumes with whatever fits, and errors do not name the file.
    """
    # mmengine sets it only where the config says so, and what is loaded later is no resume.
    before, self._resume = self._resume, True
    try:
        original(self, filename, *args, **kwargs)
    except (OSError, pickle.UnpicklingError):
        raise  # These name the file.
    except Exception as error:
        raise ValueError(
            f'{filename!r} cannot be resumed from, expected a checkpoint of the same config. '
            f'{type(error).__name__}: {error}'
        ) from error
    finally:
        self._resume = before


@safeguards.wrapping('mmengine.model.weight_init.PretrainedInit.__call__')
def initialize_with_what_fits(original: Callable, self: PretrainedInit, module: nn.Module) -> None:
    """Expects some weight of the module.

    Why: `init_cfg=dict(type='Pretrained')` of which nothing fits leaves the module random, with a
    warning.
    """
    tensors = LoadedTensors(module, f'init_cfg.checkpoint={self.checkpoint!r}')
    try:
        original(self, module)
    except AssertionError as error:
        raise ValueError(f'{tensors.key} does not fit: {error}') from error
    tensors.expect_fit('module', whole=False)


_DISTILL = 'mmrazor.models.algorithms.distill.configurable'


@safeguards.wrapping(
    f'{_DISTILL}.single_teacher_distill.load_checkpoint',
    f'{_DISTILL}.datafree_distillation.load_checkpoint',
)
def load_teachers_whole(original: Callable, model: nn.Module, filename: str) -> dict:
    """Expects all of a teacher.

    Why: a `teacher_ckpt` of another architecture leaves the teacher random, with a warning.
    """
    # Data-free algorithms call it ckpt_path.
    key = f'model.teacher_ckpt={filename!r}'
    try:
        checkpoint = load_whole(model, filename, 'teacher', key)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{key} does not exist, expected a checkpoint.') from error
    _LOADED_TEACHERS.add(model)
    return checkpoint

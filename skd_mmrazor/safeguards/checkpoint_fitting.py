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

Training may begin with part of a model, such as all but the head. A bias that
happens to have the right length is no part of it: a weight here has two dimensions
or more. A teacher that came by ``teacher_ckpt`` need not be in the checkpoint.
"""

import contextvars
import functools
import pickle
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import BaseLoop, Runner, load_checkpoint
from torch import Tensor, nn

from ..compat.patches import safeguards
from ..engine.hooks import SimplifierMigrationHook

_RESUMING = contextvars.ContextVar('_RESUMING', default=False)
_LOADED_TEACHERS: weakref.WeakSet[nn.Module] = weakref.WeakSet()


class LoadedTensors:
    """Watches which parameters and buffers of a model a checkpoint is copied into.

    A tensor that was copied into has a new version. So the prefixes that the
    checkpoint uses, and what the modules rename, need not be known.

    Args:
        model (nn.Module): The model, before the checkpoint is loaded.
        key (str): What to call the checkpoint in errors.
    """

    def __init__(self, model: nn.Module, key: str) -> None:
        self.model = model
        self.key = key
        # As mmengine does, those that only count batches are left out.
        self._before = {
            name: (tensor, tensor._version)
            for name, tensor in model.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor) and not name.endswith('num_batches_tracked')
        }

    def expect_all(self, part: str, prefix: str = '', checkpoint: dict | None = None) -> None:
        """Expects every parameter and buffer to have been loaded.

        Args:
            part (str): What to call them in errors.
            prefix (str): How their names begin. Defaults to all.
            checkpoint (dict, optional): What was loaded, to look for the reason.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        loaded = self._get_loaded(prefix)
        if not all(loaded.values()):
            self._fail(part, prefix, loaded, 'all were expected', checkpoint)

    def expect_some(self, part: str, prefix: str = '', checkpoint: dict | None = None) -> None:
        """Expects some weight of two or more dimensions to have been loaded.

        Args:
            part (str): What to call them in errors.
            prefix (str): How their names begin. Defaults to all.
            checkpoint (dict, optional): What was loaded, to look for the reason.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        loaded = self._get_loaded(prefix)
        weights = [name for name in loaded if self._before[name][0].dim() > 1] or list(loaded)
        if loaded and not any(loaded[name] for name in weights):
            expected = 'some of two or more dimensions were expected'
            self._fail(part, prefix, loaded, expected, checkpoint)

    def _get_loaded(self, prefix: str) -> dict[str, bool]:
        return {
            name: tensor._version > version
            for name, (tensor, version) in self._before.items()
            if name.startswith(prefix)
        }

    def _fail(
        self, part: str, prefix: str, loaded: dict, expected: str, checkpoint: dict | None
    ) -> NoReturn:
        name = next(name for name in loaded if not loaded[name])
        message = (
            f'{self.key} does not fit the {part}: {sum(loaded.values())} of its {len(loaded)} '
            f'parameters and buffers fit, {expected}. The first that does not fit is {name!r}'
        )
        if checkpoint is not None:
            found = _get_weights(checkpoint)
            here = tuple(self._before[name][0].shape)
            there = tuple(found[name].shape) if name in found else None
            message += ', which is not in the file' if there is None else f': {there}, not {here}'
            if prefix and there is None and name.removeprefix(prefix) in found:
                message += f'; its names lack {prefix!r}, as those of a model by itself do'
        raise ValueError(f'{message}.')


def _get_weights(checkpoint: dict) -> dict[str, Tensor]:
    weights = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): weight for name, weight in weights.items()}


def load_whole(model: nn.Module, filename: str, part: str = 'model', key: str = '') -> dict:
    """Loads a checkpoint of which every parameter and buffer of a model is expected.

    Args:
        model (nn.Module): The model.
        filename (str): A path or a URL.
        part (str): What to call the model in errors. Defaults to ``'model'``.
        key (str): What to call the checkpoint in errors. Defaults to its name.

    Returns:
        dict: The checkpoint.

    Raises:
        ValueError: It does not fit.
    """
    tensors = LoadedTensors(model, key or repr(str(filename)))
    checkpoint = load_checkpoint(model, str(filename), map_location='cpu')
    tensors.expect_all(f'{part} ({_describe(model)})', checkpoint=checkpoint)
    return checkpoint


def _describe(model: nn.Module) -> str:
    backbone = getattr(model, 'backbone', None)
    inner = f' with {type(backbone).__name__}' if backbone is not None else ''
    return type(model).__name__ + inner


def _unwrap(model: Any) -> Any:
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _get_parts(model: Any) -> dict[str, tuple[str, nn.Module]]:
    """The prefix and the module of each part that is judged by itself."""
    if not hasattr(model, 'distiller'):
        return {'model': ('', model)}
    parts = {'student': ('architecture.', model.architecture)}
    if hasattr(model, 'teacher'):
        parts['teacher'] = ('teacher.', model.teacher)
    for name, teacher in getattr(model, 'teachers', {}).items():
        parts[f'teacher {name!r}'] = (f'teachers.{name}.', teacher)
    return parts


@safeguards.replacing(
    'mmengine.runner.Runner.load_checkpoint',
    reason='a checkpoint that does not fit leaves the model random, with a warning. The runner of '
    'a distillation also gets `SimplifierMigrationHook`',
)
def load_what_fits(original: Callable) -> Callable:
    """Checks what ``load_from``, testing and resuming have loaded."""

    @functools.wraps(original)
    def load(self: Runner, filename: str, *args: Any, **kwargs: Any) -> dict:
        model = _unwrap(self.model)
        known = any(isinstance(hook, SimplifierMigrationHook) for hook in self.hooks)
        if hasattr(model, 'distiller') and not known:
            self.register_hook(SimplifierMigrationHook())
        tensors = LoadedTensors(model, f'load_from={filename!r}')
        checkpoint = original(self, filename, *args, **kwargs)
        trains = isinstance(self._train_loop, BaseLoop)
        evaluates = isinstance(self._val_loop, BaseLoop) or isinstance(self._test_loop, BaseLoop)
        whole = _RESUMING.get() or (evaluates and not trains)
        expect = tensors.expect_all if whole else tensors.expect_some
        names = _get_weights(checkpoint)
        for part, (prefix, module) in _get_parts(model).items():
            if module not in _LOADED_TEACHERS or any(n.startswith(prefix) for n in names):
                expect(f'{part} ({_describe(module)})', prefix, checkpoint)
        if _RESUMING.get():
            tensors.expect_all('model', checkpoint=checkpoint)
        return checkpoint

    return load


@safeguards.replacing(
    'mmengine.runner.Runner.resume',
    reason='a run resumes with whatever fits, and errors do not name the file',
)
def resume_whole_model(original: Callable) -> Callable:
    """Expects all of the model, and names the file in errors."""

    @functools.wraps(original)
    def resume(self: Runner, filename: str, *args: Any, **kwargs: Any) -> None:
        token = _RESUMING.set(True)
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
            _RESUMING.reset(token)

    return resume


@safeguards.replacing(
    'mmengine.model.weight_init.PretrainedInit.__call__',
    reason="`init_cfg=dict(type='Pretrained')` of which nothing fits leaves the module random, "
    'with a warning',
)
def initialize_with_what_fits(original: Callable) -> Callable:
    """Expects some weight of the module."""

    @functools.wraps(original)
    def call(self: PretrainedInit, module: nn.Module) -> None:
        tensors = LoadedTensors(module, f'init_cfg.checkpoint={self.checkpoint!r}')
        try:
            original(self, module)
        except AssertionError as error:
            raise ValueError(f'{tensors.key} does not fit: {error}') from error
        tensors.expect_some(f'module ({_describe(module)})')

    return call


@safeguards.replacing(
    'mmrazor.models.algorithms.distill.configurable.single_teacher_distill.load_checkpoint',
    'mmrazor.models.algorithms.distill.configurable.datafree_distillation.load_checkpoint',
    reason='a `teacher_ckpt` of another architecture leaves the teacher random, with a warning',
)
def load_teachers_whole(original: Callable) -> Callable:
    """Expects all of a teacher."""

    @functools.wraps(original)
    def load(model: nn.Module, filename: str) -> dict:
        checkpoint = load_whole(model, filename, 'teacher', f'teacher_ckpt={filename!r}')
        _LOADED_TEACHERS.add(model)
        return checkpoint

    return load

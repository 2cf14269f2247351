"""Helpers that hooks and loops share."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmrazor.models import SingleTeacherDistill
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from ..utils import expect


def get_model(runner: Runner) -> Any:
    """The model of a runner, without the wrapper of distributed training.

    Args:
        runner (Runner): Any runner.

    Returns:
        nn.Module: The model.
    """
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def counts_epochs(runner: Runner) -> bool:
    """Whether the training loop of a runner counts epochs, and not iterations."""
    return isinstance(runner.train_loop, EpochBasedTrainLoop)


def expect_epochs(runner: Runner, hook: Hook) -> None:
    """Refuses a hook that counts epochs in a training loop that does not.

    Args:
        runner (Runner): The runner of the training process.
        hook (Hook): The hook.

    Raises:
        ValueError: The loop is no ``EpochBasedTrainLoop``.
    """
    by_epoch = counts_epochs(runner)
    expect(by_epoch, f'{type(hook).__name__}: train_cfg.by_epoch', by_epoch, 'True')


def expect_frozen_teacher(runner: Runner, name: str) -> Any:
    """Refuses algorithms other than ``SingleTeacherDistill`` with a frozen teacher.

    Args:
        runner (Runner): The runner of the training process.
        name (str): The name of the hook, for messages.

    Returns:
        SingleTeacherDistill: The algorithm.

    Raises:
        ValueError: The wrapper, the algorithm or one of its settings is another.
    """
    wrapper = type(runner.model).__name__
    known = isinstance(runner.model, DistributedDataParallel) or not is_model_wrapper(runner.model)
    expect(known, f'{name}: model wrapper', wrapper, 'none, or DistributedDataParallel')
    model = get_model(runner)
    known = getattr(type(model), 'loss', None) is SingleTeacherDistill.loss
    expect(known, f'{name}: model.type', type(model).__name__, "'SingleTeacherDistill'")
    for key, value in (('teacher_trainable', False), ('teacher_norm_eval', True)):
        found = getattr(model, key)
        expect(found == value, f'{name}: model.{key}', found, str(value))
    return model


def get_sampler(dataloader: DataLoader) -> Any:
    """The sampler of a data loader."""
    # With a batch sampler, the loader's own sampler is a placeholder.
    return getattr(dataloader.batch_sampler, 'sampler', dataloader.sampler)


def replace_forward(model: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Replaces the teacher's ``forward`` in the training steps.

    Args:
        model (SingleTeacherDistill): The algorithm.
        forward (Callable): Takes ``inputs`` and ``data_samples``.

    Returns:
        Callable: The one that is replaced; :func:`restore_forward` undoes it.
    """
    original = model.teacher.forward

    def choose(inputs: Any, data_samples: Any = None, mode: str = 'tensor') -> Any:
        if mode == 'loss' and model.training:
            return forward(inputs, data_samples)
        return original(inputs, data_samples, mode=mode)

    model.teacher.forward = choose
    return original


def restore_forward(model: Any) -> None:
    """Gives a teacher its own ``forward``, however often it was replaced."""
    vars(model.teacher).pop('forward', None)


@contextlib.contextmanager
def keep_random_state() -> Iterator[Callable[[], bool]]:
    """Restores the states of the generators of Python, NumPy and torch afterwards.

    Yields:
        Callable: Tells whether a random number has been drawn since the beginning.
    """
    python, numpy = random.getstate(), np.random.get_state()
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []

    def get_states() -> list:
        tensors = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]
        now: Any = np.random.get_state()
        return [*(t.tolist() for t in tensors), now[1].tolist(), now[2], random.getstate()]

    before = get_states()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield lambda: get_states() != before
    finally:
        random.setstate(python)
        np.random.set_state(numpy)

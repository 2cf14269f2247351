"""Helpers that hooks and loops share."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..utils import expect


def get_model(runner: Runner) -> Any:
    """The model of a runner, without the wrapper of distributed training.

    Args:
        runner (Runner): Any runner.

    Returns:
        nn.Module: The model.
    """
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def expect_epochs(runner: Runner, hook: Hook) -> None:
    """Refuses a hook that counts epochs in a training loop that does not.

    Args:
        runner (Runner): The runner of the training process.
        hook (Hook): The hook.

    Raises:
        ValueError: The loop is no ``EpochBasedTrainLoop``.
    """
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    expect(by_epoch, f'train_cfg.by_epoch, with a {type(hook).__name__},', by_epoch, 'True')


@contextlib.contextmanager
def keep_random_state() -> Iterator[None]:
    """Restores the states of the generators of Python, NumPy and torch afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)

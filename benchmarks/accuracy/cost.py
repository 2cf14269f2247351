"""Estimates the cost of a run from a few of its steps on this machine."""

import io
import math
import os
import statistics
from dataclasses import dataclass
from unittest import mock

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmpretrain.structures import DataSample

import skd_mmrazor  # noqa: F401  (before any config is parsed)

from ..compatibility.run_configs import drop_weights
from ..speed.runners import by_runner
from ..speed.timing import time_call
from .runs import Run

NUM_TRAIN, NUM_VAL = 50_000, 10_000  # of CIFAR-100 and of Glyph100


@dataclass(frozen=True)
class Cost:
    """The cost of a config.

    Attributes:
        step (float): Milliseconds of a training step.
        validation (float): Milliseconds of a batch of the validation.
        steps (int): Training steps per epoch.
        batches (int): Batches per validation.
        megabytes (float): Size of a checkpoint. A run keeps one.
    """

    step: float
    validation: float
    steps: int
    batches: int
    megabytes: float

    def hours(self, epochs: int) -> float:
        """Hours of a run, without the reading of images."""
        epoch = self.step * self.steps + self.validation * self.batches
        return epochs * epoch / 3_600_000


def make_batch(size: int) -> dict:
    """Random images with labels, and with the indices of negatives for CRD."""
    samples = [
        DataSample(
            sample_idx=torch.tensor(i), contrast_sample_idxs=torch.randint(NUM_TRAIN, (16385,))
        ).set_gt_label(i % 100)
        for i in range(size)
    ]
    images = torch.randint(256, (size, 3, 32, 32), dtype=torch.uint8)
    return dict(inputs=list(images), data_samples=samples)


def measure(run: Run, rounds: int = 3) -> Cost:
    """Times steps of a run on random images, and saves it once, to memory.

    Args:
        run (Run): The run.
        rounds (int): Steps that are timed, after two that are not. Defaults to 3.
    """
    with mock.patch.dict(os.environ, run.env):
        cfg = Config.fromfile(run.config)
    options = (option.split('=', 1) for option in run.options)
    cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
    drop_weights(cfg.model)
    # Random images are not what a store is of.
    cfg.default_hooks.pop('stored_teacher', None)
    cfg.image_size = 32
    sizes = cfg.train_dataloader.batch_size, cfg.val_dataloader.batch_size
    train, val = map(make_batch, sizes)
    step, runner = by_runner(cfg)
    device = torch.device(get_device())
    median = statistics.median
    train_time = median([time_call(lambda: step(train), device) for _ in range(rounds + 2)][2:])
    state = dict(state_dict=runner.model.state_dict(), optimizer=runner.optim_wrapper.state_dict())
    torch.save(state, buffer := io.BytesIO())
    runner.model.eval()
    with torch.no_grad():
        val_time = median(
            [time_call(lambda: runner.model.val_step(val), device) for _ in range(2)][1:]
        )
    counts = (math.ceil(n / size) for n, size in zip((NUM_TRAIN, NUM_VAL), sizes, strict=True))
    return Cost(train_time, val_time, *counts, len(buffer.getvalue()) / 1e6)

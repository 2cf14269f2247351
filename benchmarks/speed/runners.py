"""A step through mmengine's runner, with all its hooks."""

import copy
import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DATASETS, LOOPS
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.datasets import PackInputs
from torch import nn

from ..compatibility.run_configs import drop_validation

# A training step: takes a batch as a data loader of mmengine returns it.
Step = Callable[[dict], Any]

# The parts of FrozenTeacherHook that change only the speed, up to rounding.
TEACHER_PARTS: dict[str, dict] = {
    'batch norm folded': dict(fold_bn=True),
    'no loss': dict(skip_loss=True),
    'channels_last': dict(channels_last=True),
    'bfloat16': dict(dtype='bfloat16'),
}


def frozen_teacher(parts: Iterable[dict]) -> dict:
    """Config of a FrozenTeacherHook with these parts only.

    Args:
        parts (Iterable[dict]): The parts, such as those of ``TEACHER_PARTS``.
    """
    hook = dict(type='mmrazor.FrozenTeacherHook', fold_bn=False, skip_loss=False)
    for part in parts:
        hook.update(part)
    return hook


def get_paying_parts(device: str) -> dict[str, dict]:
    """Those of ``TEACHER_PARTS`` that save time on a device, by name.

    Args:
        device (str): The device of the teacher.
    """
    parts = dict(TEACHER_PARTS)
    if device == 'cpu' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Processors without instructions for bfloat16 are slower with it.
        del parts['bfloat16']
    return parts


@DATASETS.register_module(force=True)
class _Noise(BaseDataset):
    """A data set of random images. The benchmark makes its batches itself.

    Args:
        size (int): Height and width of an image, for hooks that load one.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(pipeline=[self._draw, PackInputs()])

    def load_data_list(self) -> list[dict]:
        return [dict() for _ in range(1 << 16)]

    def _draw(self, data: dict) -> dict:
        image = np.random.randint(256, size=(self.size, self.size, 3), dtype=np.uint8)
        return dict(data, img=image, gt_label=0)


@LOOPS.register_module(force=True)
class _SteppedLoop(EpochBasedTrainLoop):
    """Prepares training; the benchmark makes the steps."""

    def run(self) -> nn.Module:
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        return self.runner.model


def make_runner(cfg: Config, hooks: tuple[dict, ...] = ()) -> Runner:
    """A runner that is ready to train, with all its hooks, logging included.

    It neither validates nor saves, and its learning rate stays.

    Args:
        cfg (Config): What to train.
        hooks (tuple[dict]): Further hooks.
    """
    cfg = copy.deepcopy(cfg)
    cfg.train_cfg = dict(type='mmengine._SteppedLoop', max_epochs=1)
    drop_validation(cfg)
    cfg.param_scheduler = None
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), *hooks]
    cfg.default_hooks.pop('checkpoint', None)
    cfg.log_level = 'ERROR'
    cfg.work_dir = tempfile.mkdtemp()
    cfg.experiment_name = Path(cfg.work_dir).name
    runner = Runner.from_cfg(cfg)
    runner.train()
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    return runner


def by_runner(cfg: Config, hooks: tuple[dict, ...] = ()) -> tuple[Step, Runner]:
    """The step of a runner.

    Args:
        cfg (Config): The config, from :func:`load`.
        hooks (tuple[dict]): Further hooks.
    """
    loader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    cfg = copy.deepcopy(cfg)
    cfg.train_dataloader = dict(loader, dataset=dict(type='mmengine._Noise', size=cfg.image_size))
    runner = make_runner(cfg, hooks)
    count = iter(range(1 << 30))
    return lambda batch: runner.train_loop.run_iter(next(count), batch), runner

"""Short runs on the digits, in this process, and what they leave behind."""

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from .conftest import ROOT

KD = 'kd_resnet14-w16_resnet10-w4_60e_digits'


def digits(work_dir, name=f'skd_{KD}', **options):
    """A digits config without a trained teacher: three iterations an epoch."""
    cfg = Config.fromfile(ROOT / 'configs' / 'digits' / f'{name}.py')
    augment = [
        dict(type='RandomCrop', crop_size=8, padding=1),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        dict(type='PackInputs'),
    ]
    cfg.merge_from_dict(
        {
            'work_dir': str(work_dir),
            # mmengine's default is the time, which two runs can share.
            'experiment_name': f'{work_dir}',
            'model.teacher_ckpt': None,
            'train_dataloader.dataset.indices': 96,
            'train_dataloader.dataset.pipeline': augment,
            'val_dataloader.dataset.indices': 64,
            'train_cfg.max_epochs': 2,
            'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=-1),
            **options,
        }
    )
    return cfg


def train(work_dir, *arguments, **options):
    """Trains as :func:`digits` says; returns the runner."""
    runner = Runner.from_cfg(digits(work_dir, *arguments, **options))
    runner.train()
    return runner


def load(work_dir, epoch):
    return torch.load(work_dir / f'epoch_{epoch}.pth')


def resume(work_dir, checkpoint, *arguments, **options):
    """Resumes from a checkpoint, into a work directory of its own."""
    return train(work_dir, *arguments, load_from=str(checkpoint), resume=True, **options)


def assert_same_state(a, b):
    """Two checkpoints are equal, bit by bit, in all that training depends on."""
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        _assert_equal(a[part], b[part], part)
    momentum = a['optimizer']['state'].values()
    assert any(state['momentum_buffer'].abs().sum() > 0 for state in momentum)


def _assert_equal(a, b, where):
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for key in a:
            _assert_equal(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b, strict=True)):
            _assert_equal(*pair, f'{where}[{i}]')
    else:
        assert a == b, where

"""The flags of the tools, without training."""

import sys

import pytest
from mmengine.config import Config, ConfigDict
from mmengine.optim import AmpOptimWrapper, OptimWrapper

from ..conftest import ROOT, run_python

sys.path.insert(0, str(ROOT / 'tools'))
import train

CONFIG = 'configs/digits/kd_resnet14-w16_resnet10-w4_60e_digits.py'


def parse(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['train.py', str(ROOT / CONFIG), *arguments])
    return train.parse_args()


def test_work_dir_is_named_by_cli_then_config_then_file(monkeypatch):
    name = 'kd_resnet14-w16_resnet10-w4_60e_digits'
    assert train.load_config(parse(monkeypatch)).work_dir == f'work_dirs/{name}'
    args = parse(monkeypatch, '--cfg-options', 'work_dir=here')
    assert train.load_config(args).work_dir == 'here'
    args = parse(monkeypatch, '--work-dir', 'there', '--cfg-options', 'work_dir=here')
    assert train.load_config(args).work_dir == 'there'


def test_every_flag_of_mmrazors_tool_is_there(monkeypatch):
    args = parse(
        monkeypatch,
        *('--amp', '--auto-scale-lr', '--resume', '--launcher', 'slurm', '--local_rank', '1'),
        *(
            '--cfg-options',
            'train_cfg.max_epochs=3',
            'optim_wrapper.optimizer.lr=2',
        ),
    )
    assert args.amp
    assert args.auto_scale_lr
    assert args.resume
    assert args.local_rank == 1
    cfg = train.load_config(args)
    assert cfg.launcher == 'slurm'
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.optim_wrapper.optimizer.lr == 2


def test_amp_turns_the_wrapper():
    wrapper = ConfigDict(optimizer=dict(type='SGD', lr=0.1))
    train.enable_amp(wrapper)
    assert wrapper.type == 'AmpOptimWrapper'
    assert wrapper.loss_scale == 'dynamic'
    wrapper.loss_scale = 512.0
    train.enable_amp(wrapper)
    assert wrapper.loss_scale == 512.0
    # As in a Python-style config.
    wrapper = ConfigDict(type=OptimWrapper)
    train.enable_amp(wrapper)
    assert wrapper.type == 'AmpOptimWrapper'
    wrapper = ConfigDict(type=AmpOptimWrapper)
    train.enable_amp(wrapper)
    assert wrapper.type is AmpOptimWrapper
    with pytest.raises(
        SystemExit, match=r"--amp: optim_wrapper\.type='ApexOptimWrapper', expected"
    ):
        train.enable_amp(ConfigDict(type='ApexOptimWrapper'))


def test_amp_of_a_data_free_config_is_the_students():
    wrapper = ConfigDict(
        constructor='mmrazor.SeparateOptimWrapperConstructor',
        architecture=dict(optimizer=dict(type='SGD', lr=0.1)),
        generator=dict(optimizer=dict(type='Adam', lr=1e-3)),
    )
    train.enable_amp(wrapper)
    assert wrapper.architecture.type == 'AmpOptimWrapper'
    assert wrapper.keys() == {'constructor', 'architecture', 'generator'}
    assert wrapper.generator.keys() == {'optimizer'}


def test_auto_scale_lr_needs_a_base_batch_size():
    cfg = Config(dict(auto_scale_lr=dict(base_batch_size=256)))
    train.enable_auto_scale_lr(cfg)
    assert cfg.auto_scale_lr.enable
    with pytest.raises(SystemExit, match=r'auto_scale_lr\.base_batch_size is not in the config'):
        train.enable_auto_scale_lr(Config(dict()))


def test_a_teacher_that_was_not_trained_yet_is_named(tmp_path):
    output = run_python(
        *('tools/train.py', CONFIG, '--work-dir', tmp_path),
        *('--cfg-options', f'model.teacher_ckpt={tmp_path / "none.pth"}'),
        check=False,
    )
    assert f"FileNotFoundError: model.teacher_ckpt='{tmp_path}/none.pth' does not exist" in output

"""The last line of a training says where the model is, and its command uses it."""

import json
import shlex
from pathlib import Path

import pytest
from mmpretrain import get_model

from ..conftest import ROOT, run_python

pytestmark = pytest.mark.slow

DIGITS = ROOT / 'configs' / 'digits'
PYTHON_STYLE = ROOT / 'skd_mmrazor' / 'configs' / 'digits'
QUICK = ('train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64')


def train(config, work_dir, *options):
    """Trains; returns the last line, and the command in it."""
    arguments = ('--work-dir', work_dir, '--cfg-options', *QUICK, *options)
    output = run_python('tools/train.py', config, *arguments)
    line = output.strip().splitlines()[-1]
    return line, shlex.split(line.rpartition(': ')[2])


@pytest.mark.parametrize(
    'config',
    [
        DIGITS / 'skd_kd_resnet14-w16_resnet10-w4_60e_digits.py',
        pytest.param(
            PYTHON_STYLE / 'skd_kd_resnet14_w16_resnet10_w4_60e_digits.py',
            marks=pytest.mark.nightly,
        ),
    ],
    ids=['text', 'python style'],
)
def test_a_student_is_taken_out_by_it(tmp_path, config):
    """Of a training whose student differs from the config, in a folder with a space."""
    wider = (
        'model.architecture.backbone.base_channels=6',
        'model.architecture.head.in_channels=12',
    )
    work_dir = tmp_path / 'my run'
    text, command = train(config, work_dir, 'model.teacher_ckpt=None', *wider)
    assert f'The student is in {work_dir}/epoch_1.pth' in text
    assert command[0] == 'python'
    output = run_python(*command[1:])
    student = dict(line.split(': ') for line in output.strip().splitlines()[-2:])
    model = get_model(student['config'], pretrained=student['checkpoint'])
    assert model.head.fc.in_features == 12


def test_a_model_alone_is_tested_by_it(tmp_path):
    best = 'default_hooks.checkpoint.save_best=accuracy/top1'
    text, command = train(DIGITS / 'resnet10-w4_60e_digits.py', tmp_path, best)
    assert f'The model is in {tmp_path}/best_accuracy_top1_epoch_1.pth' in text
    scalars = Path(max(tmp_path.glob('*/vis_data/scalars.json'))).read_text().splitlines()
    expected = json.loads(scalars[-1])['accuracy/top1']
    assert f'accuracy/top1: {expected:.4f}' in run_python(*command[1:])


def test_without_a_checkpoint_it_says_nothing(tmp_path):
    none = ('default_hooks.checkpoint.save_last=False', 'default_hooks.checkpoint.interval=9')
    text, _ = train(DIGITS / 'resnet10-w4_60e_digits.py', tmp_path, *none)
    assert 'accuracy/top1' in text
    assert ' is in ' not in text

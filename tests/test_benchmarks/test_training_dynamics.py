"""Recording the simplifier during training does not change the training."""

import sys

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from benchmarks.accuracy import training_dynamics

from ..conftest import ROOT

NAME = '{}_resnet14-w16_resnet10-w4_60e_digits'
# So large that mmengine logs the norm and clips nothing.
OPTIONS = (
    'model.teacher_ckpt=None',
    'train_cfg.max_epochs=1',
    'optim_wrapper.clip_grad.max_norm=1e9',
)


def run(monkeypatch, folder, method):
    config = ROOT / f'configs/digits/{NAME.format(method)}.py'
    places = ('--out', folder / 'training_dynamics.png', '--work-dir', folder)
    arguments = [*map(str, (config, *places)), '--cfg-options', *OPTIONS]
    monkeypatch.setattr(sys, 'argv', ['training_dynamics', *arguments])
    training_dynamics.main()
    work_dir = folder / config.stem
    return work_dir, torch.load(work_dir / 'epoch_1.pth', weights_only=False)['state_dict']


def get_history(name):
    return MessageHub.get_current_instance().get_scalar(f'train/{name}').data[0]


@pytest.mark.slow
def test_the_norms_add_up_to_that_of_mmengine_and_watching_changes_nothing(monkeypatch, tmp_path):
    work_dir, watched = run(monkeypatch, tmp_path / 'watched', 'skd_kd')
    parts = np.hypot(get_history('grad_norm_student'), get_history('grad_norm_simplifier'))
    np.testing.assert_allclose(parts, get_history('grad_norm'), rtol=1e-4)
    assert get_history('grad_norm_simplifier').max() > 0
    assert set(training_dynamics.PANELS) <= set(training_dynamics.read_curves(work_dir))
    assert (tmp_path / 'watched/training_dynamics.png').read_bytes()[1:4] == b'PNG'

    monkeypatch.setattr(training_dynamics.TrainingDynamicsHook, 'before_train', lambda *_: None)
    work_dir, alone = run(monkeypatch, tmp_path / 'alone', 'skd_kd')
    assert 'attention_entropy' not in training_dynamics.read_curves(work_dir)
    assert all(value.equal(alone[key]) for key, value in watched.items())


@pytest.mark.slow
def test_a_config_without_a_simplifier_is_drawn_too(monkeypatch, tmp_path):
    work_dir, _ = run(monkeypatch, tmp_path, 'kd')
    found = set(training_dynamics.read_curves(work_dir))
    assert 'grad_norm_student' in found
    assert not {'attention_entropy', 'grad_norm_simplifier'} & found

"""Weights that a model loads when it is built fit it, or are refused by the key of the config."""

import pytest
import torch
from mmrazor.registry import MODELS

from skd_mmrazor.safeguards.loaded_tensors import LoadedTensors

from ..conftest import classifier
from .fitting_runs import distillation, save


def test_pretrained_needs_some_weight_of_the_module(tmp_path):
    path, _ = save(tmp_path, classifier(2), drop='head')
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    MODELS.build(dict(classifier(2), init_cfg=init_cfg)).init_weights()
    with pytest.raises(ValueError, match=r'init_cfg\.checkpoint=.*saved.* fit the module'):
        MODELS.build(dict(classifier(3), init_cfg=init_cfg)).init_weights()


def test_of_a_module_without_matrices_some_vector_is_enough():
    norm = torch.nn.BatchNorm1d(2)
    tensors = LoadedTensors(norm, 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth does not fit the norm .*: 0 of its 4 '):
        tensors.expect_fit('norm', whole=False)
    norm.load_state_dict(dict(bias=torch.ones(2)), strict=False)
    tensors.expect_fit('norm', whole=False)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_teacher_ckpt_that_fits_is_loaded(tmp_path, prefix):
    path, saved = save(tmp_path, classifier(4), prefix=prefix)
    teacher = MODELS.build(distillation(teacher_ckpt=str(path))).teacher
    for a, b in zip(saved.state_dict().values(), teacher.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('other', 'fitting'),
    [(classifier(2), 1), (classifier(4, num_classes=7), 50), (dict(type='LeNet5'), 0)],
)
def test_a_teacher_ckpt_of_another_architecture_is_refused(tmp_path, other, fitting):
    path, _ = save(tmp_path, dict(other, _scope_='mmpretrain'))
    message = (
        rf'model\.teacher_ckpt=.*saved\.pth.* does not fit the teacher \(ImageClassifier with '
        rf'ResNet_CIFAR\): {fitting} of its 52 parameters and buffers fit, all were expected'
    )
    with pytest.raises(ValueError, match=message):
        MODELS.build(distillation(teacher_ckpt=str(path)))


def test_a_missing_teacher_ckpt_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'model\.teacher_ckpt=.*none\.pth.* does not exist'
    ):
        MODELS.build(distillation(teacher_ckpt=str(tmp_path / 'none.pth')))

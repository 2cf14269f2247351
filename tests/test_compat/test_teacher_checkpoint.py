import re

import pytest
import torch
from mmrazor.registry import MODELS
from packaging.version import Version

from ..conftest import algorithm, classifier, distiller
from .test_checkpoints import Evil


def build(checkpoint):
    cfg = distiller({'loss_kl': dict(type='KLDivergence')})
    return MODELS.build(algorithm(cfg, teacher_ckpt=str(checkpoint)))


def save(path, model, prefix=''):
    state = {prefix + key: value for key, value in model.state_dict().items()}
    torch.save(dict(state_dict=state, meta=dict()), path)


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_a_fitting_checkpoint_is_loaded(tmp_path, prefix):
    teacher = MODELS.build(classifier(4))
    save(tmp_path / 'teacher.pth', teacher, prefix)
    loaded = build(tmp_path / 'teacher.pth').teacher
    for a, b in zip(teacher.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_missing_file(tmp_path):
    path = tmp_path / 'none.pth'
    with pytest.raises(FileNotFoundError, match=re.escape(f"teacher_ckpt='{path}' does not exist")):
        build(path)


def test_a_truncated_file(tmp_path):
    path = tmp_path / 'teacher.pth'
    save(path, MODELS.build(classifier(4)))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r'teacher_ckpt=.* cannot be read: expected a whole'):
        build(path)


@pytest.mark.skipif(Version(torch.__version__) < Version('2.6'), reason='torch.load ran code')
def test_a_file_that_would_run_code(tmp_path):
    torch.save(dict(state_dict=dict(), meta=Evil(tmp_path / 'pwned')), tmp_path / 'evil.pth')
    with pytest.raises(ValueError, match=r'teacher_ckpt=.* weights and no code'):
        build(tmp_path / 'evil.pth')
    assert not (tmp_path / 'pwned').exists()


@pytest.mark.parametrize(
    ('other', 'matched'),
    [(classifier(2), 1), (classifier(4, num_classes=7), 30), (dict(type='LeNet5'), 0)],
)
def test_another_architecture(tmp_path, other, matched):
    save(tmp_path / 'other.pth', MODELS.build(dict(other, _scope_='mmpretrain')))
    message = (
        rf'does not fit the teacher ImageClassifier with backbone ResNet_CIFAR: {matched} of its '
        r'32 parameters .* first one missing is'
    )
    with pytest.raises(ValueError, match=message):
        build(tmp_path / 'other.pth')

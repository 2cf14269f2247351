"""The configs of SKD: mmrazor's own, with two keys changed."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

pytest.importorskip('mmpretrain')
FOLDER = Path(__file__).parents[4] / 'configs' / 'distill' / 'mmcls' / 'skd'
CONFIGS = sorted(FOLDER.glob('*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_steps(path):
    cfg = Config.fromfile(path)
    cfg.model.pop('teacher_ckpt', None)
    cfg.model.pop('init_cfg', None)
    cfg.model.teacher.pretrained = False
    model = dict(cfg.model)
    model.setdefault('data_preprocessor', cfg.get('data_preprocessor'))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(model)

    from mmpretrain.structures import DataSample

    size = 32 if 'cifar' in path.stem else 224
    samples = [DataSample(sample_idx=torch.tensor(i)).set_gt_label(i) for i in (1, 2)]
    losses = model(torch.randn(2, 3, size, size), samples, mode='loss')
    loss, logged = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    assert logged['distill.lam'] == 0
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0

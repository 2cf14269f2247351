"""The configs of the method study, without its data."""

import pytest
import torch
from mmengine.config import Config
from mmrazor.registry import MODELS

from ..conftest import ROOT

CONFIGS = ROOT / 'benchmarks' / 'accuracy' / 'configs' / 'fashion_mnist'


@pytest.mark.parametrize('method', ['kd', 'dkd'])
def test_skd_differs_from_its_base_by_the_distiller_alone(method):
    base, ours = (Config.fromfile(CONFIGS / f'{name}{method}.py') for name in ('', 'skd_'))
    ours.model.distiller.type = base.model.distiller.type
    del ours.model.distiller['simplifier']
    for cfg in (base, ours):
        cfg.pop('custom_imports')
    assert ours.to_dict() == base.to_dict()


@pytest.mark.parametrize('method', ['kd', 'skd_kd', 'dkd', 'skd_dkd'])
def test_the_networks_take_images_of_fashion_mnist(method):
    cfg = Config.fromfile(CONFIGS / f'{method}.py').model
    cfg.teacher_ckpt = None
    model = MODELS.build(cfg)
    assert model(torch.zeros(2, 1, 28, 28), mode='tensor').shape == (2, 10)


@pytest.mark.parametrize(('split', 'found'), [('val', ('train', -10000)), ('test', ('test', None))])
def test_tuning_keeps_away_from_the_test_images(monkeypatch, split, found):
    monkeypatch.setenv('STUDY_SPLIT', split)
    dataset = Config.fromfile(CONFIGS / 'kd.py').val_dataloader.dataset.dataset
    assert (dataset.split, dataset.get('indices')) == found

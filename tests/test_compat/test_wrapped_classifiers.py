"""Classifiers of timm and of Hugging Face keep what they have learned, as a student too."""

import sys

import mmpretrain
import pytest
import torch
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.models import HuggingFaceClassifier, TimmClassifier
from mmpretrain.models.classifiers import BaseClassifier
from torch import nn

from ..conftest import ROOT
from ..test_engine.runs import difference, loader, run_config, weights

sys.path.insert(0, str(ROOT / 'tools' / 'model_converters'))
import convert_kd_ckpt_to_student as converter


def bare(kind, **layers):
    """A classifier with mmpretrain's own hooks, around a network of torch."""

    class Bare(kind):
        def __init__(self):
            BaseClassifier.__init__(self)
            self.model = nn.ModuleDict(layers) if layers else nn.Sequential(nn.Linear(3, 2))
            self._register_state_dict_hook(self._remove_state_dict_prefix)
            self._register_load_state_dict_pre_hook(self._add_state_dict_prefix)

    return Bare()


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
@pytest.mark.parametrize('kind', [TimmClassifier, HuggingFaceClassifier])
def test_what_was_saved_is_loaded_alone_and_inside_of_another_module(kind, load):
    for make in (lambda: bare(kind), lambda: nn.ModuleDict(dict(a=bare(kind), b=bare(kind)))):
        saved, loaded = make(), make()
        load(loaded, saved.state_dict(), strict=True)
        for one, other in zip(saved.parameters(), loaded.parameters(), strict=True):
            assert torch.equal(one, other)
    assert set(bare(kind).state_dict()) == {'0.weight', '0.bias'}, 'the names are those of timm'


def test_a_network_one_of_whose_layers_is_called_model_is_loaded():
    saved, loaded = (
        bare(TimmClassifier, model=nn.Linear(3, 2), fc=nn.Linear(2, 2)) for _ in range(2)
    )
    loaded.load_state_dict(saved.state_dict(), strict=True)
    assert torch.equal(saved.model['model'].weight, loaded.model['model'].weight)


@pytest.mark.slow
def test_a_student_of_timm_is_resumed_tested_and_converted(tmp_path, monkeypatch):
    pytest.importorskip('timm')
    cfg = run_config(
        tmp_path,
        iters=2,
        val_dataloader=loader('val', 32, 16),
        val_evaluator=dict(type='Accuracy'),
        val_cfg=dict(),
        test_dataloader=loader('val', 32, 16),
        test_evaluator=dict(type='Accuracy'),
        test_cfg=dict(),
        train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
    )
    for part in ('architecture', 'teacher'):
        cfg.model[part] = dict(
            _scope_='mmpretrain',  # mmrazor has a CrossEntropyLoss of its own.
            type='TimmClassifier',
            model_name='test_resnet',
            num_classes=10,
            in_chans=1,
        )
    for recorders in ('student_recorders', 'teacher_recorders'):
        cfg.model.distiller[recorders] = dict(fc=dict(type='ModuleOutputs', source='model.fc'))
    trained = Runner.from_cfg(cfg)
    metrics = trained.train() and trained.val_loop.run()

    checkpoint = str(tmp_path / 'iter_2.pth')
    cfg.merge_from_dict(dict(load_from=checkpoint, experiment_name='test'))
    tested = Runner.from_cfg(cfg)
    assert tested.test() == metrics
    assert difference(weights(tested.model), weights(trained.model)) == 0

    cfg.merge_from_dict({'experiment_name': 'resume', 'resume': True, 'train_cfg.max_iters': 3})
    resumed = Runner.from_cfg(cfg)
    resumed.train()
    assert resumed.iter == 3

    cfg.dump(tmp_path / 'config.py')
    arguments = ['convert', str(tmp_path / 'config.py'), checkpoint, '--out-path', f'{tmp_path}/s']
    monkeypatch.setattr(sys, 'argv', arguments)
    converter.main()
    (file,) = (tmp_path / 's').glob('*.pth')
    student = mmpretrain.get_model(str(file.with_suffix('.py')), pretrained=str(file))
    assert 'conv1.0.weight' in torch.load(file)['state_dict'], 'the names are those of timm'
    assert difference(weights(student), weights(trained.model.student)) == 0

import importlib
from importlib.util import find_spec

import mmpretrain
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config, get_model
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.visualization import UniversalVisualizer
from mmrazor.models.losses import KDSoftCELoss
from mmrazor.registry import MODELS, TRANSFORMS

from ..conftest import classifier, run_python


def test_base_resolves_to_mmpretrain(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("_base_ = ['mmcls::_base_/schedules/imagenet_bs256.py']")
    assert Config.fromfile(config).optim_wrapper.optimizer.type == 'SGD'


def test_cfg_path_resolves_to_mmpretrain():
    cfg = get_config('mmcls::resnet/resnet18_8xb32_in1k.py')
    assert cfg.model.backbone.depth == 18
    with DefaultScope.overwrite_default_scope('mmrazor'):
        model = get_model('mmcls::resnet/resnet18_8xb32_in1k.py')
        assert DefaultScope.get_current_instance().scope_name == 'mmrazor'
    assert isinstance(model, mmpretrain.models.ImageClassifier)


@pytest.mark.parametrize('scope', ['mmpretrain', 'mmcls'])
def test_type_prefix_and_scope_resolve_to_mmpretrain(scope):
    assert MODELS.get('mmcls.ImageClassifier') is mmpretrain.models.ImageClassifier
    cfg = dict(classifier(2), type='mmcls.ImageClassifier', _scope_=scope)
    assert isinstance(MODELS.build(cfg), mmpretrain.models.ImageClassifier)


def test_a_class_registered_later_is_known_by_both_names():
    @mmpretrain.registry.MODELS.register_module()
    class Later(torch.nn.Module):
        pass

    assert MODELS.get('mmcls.Later') is Later


def test_mmrazors_loss_and_transform_are_real():
    s, t = torch.randn(2, 3), torch.randn(2, 3)
    expected = -(t.softmax(1) * s.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(KDSoftCELoss()(s, t), expected)
    pack = TRANSFORMS.build(dict(type='mmrazor.PackCRDClsInputs'))
    packed = pack(dict(img=np.zeros((4, 5, 3), np.uint8), gt_label=1, sample_idx=7))
    assert packed['inputs'].shape == (3, 4, 5)
    assert packed['data_samples'].gt_label == 1
    assert packed['data_samples'].sample_idx == 7


@pytest.mark.parametrize('scope', ['mmcls', 'mmpretrain', 'mmrazor'])
def test_a_visualizer_of_a_dumped_config_is_built(scope, tmp_path):
    backends = [dict(type='LocalVisBackend')]
    cfg = dict(type='mmcls.ClsVisualizer', name=f'of {scope}', vis_backends=backends)
    runner = Runner(
        torch.nn.Identity(), str(tmp_path), visualizer=cfg, cfg=dict(default_scope=scope)
    )
    assert isinstance(runner.visualizer, UniversalVisualizer)


def test_a_neck_is_built_by_its_name_of_mmcls():
    neck = MODELS.build(dict(type='mmcls.LinearReduction', in_channels=4, out_channels=2))
    assert isinstance(neck, mmpretrain.models.LinearNeck)
    assert mmpretrain.models.LinearNeck is importlib.import_module('mmcls.models').LinearReduction


@pytest.mark.parametrize(
    'name',
    [
        'deit/deit-tiny_pt-4xb256_in1k.py',
        'deit/deit-base-distilled_ft-16xb32_in1k-384px.py',
        'vision_transformer/vit-base-p32_ft-64xb64_in1k-384.py',
        'vision_transformer/vit-large-p16_pt-64xb64_in1k-224.py',
    ],
)
def test_configs_of_transformers_are_found_by_their_names_of_mmcls(name):
    assert get_config(f'mmcls::{name}').model.type == 'ImageClassifier'


def test_submodules_are_those_of_mmpretrain_and_mmpretrain_stays_itself():
    alias = importlib.import_module('mmcls.models.losses')
    assert alias.CrossEntropyLoss is mmpretrain.models.losses.CrossEntropyLoss
    assert mmpretrain.models.losses.__name__ == 'mmpretrain.models.losses'
    assert mmpretrain.models.losses.__spec__.name == 'mmpretrain.models.losses'
    assert find_spec('mmcls.no_such_module') is None
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('mmcls.no_such_module')
    with pytest.raises(ImportError):
        exec('from mmcls.models import NoSuchName')


def test_an_installed_mmcls_is_left_alone(tmp_path):
    package = tmp_path / 'mmcls'
    package.mkdir()
    (package / '__init__.py').write_text('installed = True')
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from skd_mmrazor.compat.mmcls import alias_mmcls
from mmengine.config.utils import MODULE2PACKAGE
import mmcls
assert mmcls.installed and MODULE2PACKAGE['mmcls'] == 'mmcls'
"""
    run_python('-c', code)


def test_models_of_mmpretrain_need_their_scope_inside_mmrazors():
    """Documented in docs/known_issues.md: 7."""
    cfg = dict(classifier(2), data_preprocessor=None)
    algorithm = dict(_scope_='mmrazor', type='BaseAlgorithm', architecture=cfg)
    MODELS.build(algorithm)
    with pytest.raises(KeyError, match='ImageClassifier is not in the mmrazor::model registry'):
        MODELS.build(dict(algorithm, architecture={**cfg, '_scope_': 'mmrazor'}))

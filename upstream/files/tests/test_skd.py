"""Run from the root of mmrazor, by ``python -m pytest projects/skd/tests``."""

import math
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS
from projects.skd.models.connectors import AttentionSimplifierConnector

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / 'projects' / 'skd' / 'configs'
KD = ROOT / 'configs/distill/mmcls/kd/kd_logits_resnet34_resnet18_8xb32_in1k.py'
SIMPLIFIER = dict(type='AttentionSimplifierConnector')
WITH_SKD = {'ConfigurableDistiller': 'SKDDistiller', 'OFDDistiller': 'SKDOFDDistiller'}
PLAIN_CONNECTOR = {
    'model.distiller.connectors': dict(simplifier=dict(SIMPLIFIER, num_classes=10, tau=1)),
    'model.distiller.distill_losses.loss_kl.type': 'LogSpaceKLDivergence',
    'model.distiller.loss_forward_mappings.loss_kl.preds_T.connector': 'simplifier',
}


def small(width):
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            stem_channels=width,
            base_channels=width,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=10,
            in_channels=2 * width,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )


NETWORKS = dict(architecture=small(2), teacher=small(4))


def build(cfg, **networks):
    torch.manual_seed(0)
    cfg.merge_from_dict({'model.teacher_ckpt': None, 'model.teacher.pretrained': False})
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build({**cfg.model, **networks})


def step(model, size=8):
    """Backpropagates the losses of random images."""
    samples = [DataSample(sample_idx=torch.tensor(i)).set_gt_label(i) for i in range(4)]
    loss, logged = model.parse_losses(model(torch.randn(4, 3, size, size), samples, mode='loss'))
    loss.backward()
    return {name: float(value) for name, value in logged.items()}


def train(model, steps=3):
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
    logged = []
    for _ in range(steps):
        optimizer.zero_grad()
        logged.append(step(model))
        optimizer.step()
    return logged


def simplifier_of(model):
    (simplifier,) = {m for m in model.modules() if isinstance(m, AttentionSimplifierConnector)}
    return simplifier


@pytest.mark.parametrize('name', ['kd', 'dkd'])
def test_the_simplifier_is_trained_jointly_and_the_teacher_is_not(name):
    cfg = Config.fromfile(CONFIGS / f'skd_{name}_resnet34_resnet18_imagenet.py')
    model = build(cfg, **NETWORKS)
    assert all(math.isfinite(value) for step in train(model) for value in step.values())
    for parameter in [*simplifier_of(model).parameters(), *model.architecture.parameters()]:
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.teacher.parameters())


def test_the_simplifier_is_a_connector_too():
    plain_cfg = Config.fromfile(KD)
    plain_cfg.merge_from_dict(PLAIN_CONNECTOR)
    plain = build(plain_cfg, **NETWORKS)
    skd = build(Config.fromfile(CONFIGS / 'skd_kd_resnet34_resnet18_imagenet.py'), **NETWORKS)
    plain.architecture.load_state_dict(skd.architecture.state_dict())
    plain.teacher.load_state_dict(skd.teacher.state_dict())
    simplifier_of(plain).load_state_dict(simplifier_of(skd).state_dict())
    for plain_step, skd_step in zip(train(plain), train(skd), strict=True):
        # SKDDistiller logs statistics of the target besides.
        assert plain_step == {key: skd_step[key] for key in plain_step}
    trained = zip(simplifier_of(plain).parameters(), simplifier_of(skd).parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in trained)


def test_the_simplifier_attends_over_many_samples():
    simplifier = AttentionSimplifierConnector(num_classes=10)
    simplified = simplifier(torch.randn(256, 10))
    simplified.square().sum().backward()
    assert torch.isfinite(simplified).all()
    assert 0 < simplifier.lam_logit.grad.abs() < math.inf


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_each_config_adds_three_lines_to_its_base(path):
    cfg = Config.fromfile(path)
    (base,) = re.findall(r"_base_ = \['(.*)'\]", path.read_text())
    expected = Config.fromfile(path.parent / base)
    expected.custom_imports = dict(imports=['projects.skd.models'], allow_failed_imports=False)
    distiller = expected.model.distiller
    distiller.update(type=WITH_SKD[distiller.type], simplifier=SIMPLIFIER)
    assert cfg.to_dict() == expected.to_dict()


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.py')), ids=lambda path: path.stem)
def test_each_config_builds_and_steps(path):
    model = build(Config.fromfile(path))
    assert math.isfinite(step(model, size=32)['loss'])

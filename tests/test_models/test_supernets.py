"""AutoSlim, DMCP and BigNAS: supernets that distil into themselves, teacher prepared first."""

import copy
import warnings

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapperDict, build_optim_wrapper
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from ..conftest import distiller

KL = {'loss_kl': dict(type='KLDivergence', tau=1)}
SUPERNET = dict(
    _scope_='mmpretrain',
    type='ImageClassifier',
    backbone=dict(type='ResNet', depth=18, base_channels=16, stem_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=10, in_channels=128, loss=dict(type='CrossEntropyLoss')
    ),
)
ANALYZER = dict(type='ChannelAnalyzer', demo_input=(1, 3, 32, 32), tracer_type='BackwardTracer')
UNIT = dict(candidate_choices=[0.5, 1.0], choice_mode='ratio', divisor=8)
ATTENTIVE = 'mmrazor::_base_/nas_backbones/attentive_mobilenetv3_supernet.py'


def autoslim():
    unit = dict(type='OneShotMutableChannelUnit', default_args=UNIT)
    mutator = dict(type='OneShotChannelMutator', channel_unit_cfg=unit, parse_cfg=ANALYZER)
    return dict(type='AutoSlim', num_random_samples=2, architecture=SUPERNET, mutator=mutator)


def dmcp():
    unit = dict(type='DMCPChannelUnit', default_args=dict(choice_mode='number'))
    mutator = dict(type='DMCPChannelMutator', channel_unit_cfg=unit, parse_cfg=ANALYZER)
    return dict(
        type='DMCP',
        architecture=SUPERNET,
        mutator_cfg=mutator,
        strategy=['max', 'min', 'scheduled_random', 'arch_random'],
        distillation_times=-1,
    )


def bignas():
    base = Config.fromfile(Config._get_cfg_path(ATTENTIVE, '')[0])
    supernet = dict(
        _scope_='mmrazor',
        type='SearchableImageClassifier',
        backbone=base.nas_backbone,
        neck=dict(type='SqueezeMeanPoolingWithDropout', drop_ratio=0.2),
        head=dict(
            type='DynamicLinearClsHead',
            num_classes=10,
            in_channels=1984,
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
        ),
        input_resizer_cfg=base.input_resizer_cfg,
        connect_head=dict(connect_with_backbone='backbone.last_mutable_channels'),
    )
    return dict(
        type='BigNAS',
        num_random_samples=1,
        architecture=supernet,
        mutator=dict(type='mmrazor.NasMutator'),
    )


def wrapper(model):
    built = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    for key, value in dict(max_iters=2, iter=0).items():  # as the runner would
        built.message_hub.update_info(key, value)
    return built


@pytest.mark.parametrize(
    'name', ['autoslim', 'dmcp', pytest.param('bignas', marks=pytest.mark.nightly)]
)
def test_a_supernet_trains_with_skd(name):
    cfg = dict(_scope_='mmrazor', distiller=distiller(KL, log_interval=1), **globals()[name]())
    cfg['distiller']['student_recorders'].pop('gt_labels')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = MODELS.build(copy.deepcopy(cfg))
    model.train()
    optim_wrapper = wrapper(model)
    if name == 'dmcp':
        optim_wrapper = OptimWrapperDict(architecture=optim_wrapper, mutator=wrapper(model.mutator))
    before = copy.deepcopy(model.distiller.simplifier.state_dict())
    data = dict(
        inputs=torch.randn(4, 3, 64, 64),
        data_samples=[DataSample().set_gt_label(i) for i in range(4)],
    )
    for _ in range(2):
        losses = model.train_step(data, optim_wrapper)
    assert all(loss.isfinite() for loss in losses.values())
    changed = [
        k for k, v in model.distiller.simplifier.state_dict().items() if (v != before[k]).any()
    ]
    assert {'lam_logit', 'num_steps'} <= set(changed)

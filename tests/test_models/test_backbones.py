"""The networks are those of the literature, and work with mmpretrain and mmrazor."""

import contextlib
import re

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample
from mmrazor.models.task_modules.recorder import ModuleInputsRecorder, ModuleOutputsRecorder
from mmrazor.registry import MODELS

from ..conftest import ROOT, algorithm, distiller

NETWORKS = Config.fromfile(ROOT / 'configs/_base_/models/cifar100_networks.py')

# Of the networks of megvii-research/mdistiller at commit a08d46f, for 100 classes.
# Their outputs are compared by benchmarks/parity/cifar_networks.py.
PARAMETERS = dict(
    resnet20=278_324,
    resnet32=472_756,
    resnet44=667_188,
    resnet56=861_620,
    resnet110=1_736_564,
    resnet8x4=1_233_540,
    resnet32x4=7_433_860,
    wrn16_1=180_916,
    wrn16_2=703_284,
    wrn40_1=569_780,
    wrn40_2=2_255_156,
    vgg8=3_965_028,
    vgg11=9_277_284,
    vgg13=9_462_180,
    mobilenetv2=812_836,
    shufflenetv1=949_258,
    shufflenetv2=1_355_528,
    resnet50=23_705_252,
)

# What the docstrings tell feature methods to record, and its shape.
STAGES = dict(
    resnet20={'layer1': (16, 32, 32), 'layer2': (32, 16, 16), 'layer3': (64, 8, 8)},
    resnet8x4={'layer1': (64, 32, 32), 'layer2': (128, 16, 16), 'layer3': (256, 8, 8)},
    wrn16_2={'layer1': (32, 32, 32), 'layer2': (64, 16, 16), 'layer3': (128, 8, 8)},
    vgg8={
        'layer1': (64, 32, 32),
        'layer2': (128, 16, 16),
        'layer3': (256, 8, 8),
        'layer4': (512, 4, 4),
        'layer5': (512, 4, 4),
    },
    mobilenetv2={
        'layer2': (12, 16, 16),
        'layer3': (16, 8, 8),
        'layer5': (48, 4, 4),
        'layer7': (160, 2, 2),
        'conv2': (1280, 2, 2),
    },
    shufflenetv1={'layer1': (240, 16, 16), 'layer2': (480, 8, 8), 'layer3': (960, 4, 4)},
    shufflenetv2={
        'layer1': (116, 16, 16),
        'layer2': (232, 8, 8),
        'layer3': (464, 4, 4),
        'conv2': (1024, 4, 4),
    },
)


def build(arch, **backbone):
    cfg = NETWORKS[arch].copy()
    cfg.backbone = dict(cfg.backbone, **backbone)
    return MODELS.build(cfg)


def record(backbone, sources, recorder=ModuleOutputsRecorder):
    """What mmrazor's recorders of the sources hold after a forward, and its output."""
    recorders = {source: recorder(source) for source in sources}
    backbone.train()
    with contextlib.ExitStack() as stack:
        for one in recorders.values():
            one.initialize(backbone)
            stack.enter_context(one)
        maps = backbone(torch.randn(2, 3, 32, 32))
    return {source: one.get_record_data() for source, one in recorders.items()}, maps


@pytest.mark.parametrize('arch', PARAMETERS)
def test_is_as_large_as_the_reference_and_trains(arch):
    model = build(arch).train()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[arch]
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 100)
    logits.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_every_network_of_the_config_is_tested():
    assert set(NETWORKS) - {'custom_imports'} == set(PARAMETERS)


def test_an_experiment_takes_networks_from_the_base(tmp_path):
    """By the names of the file, and into the config that a runner dumps."""
    (tmp_path / 'config.py').write_text(
        f"_base_ = ['{NETWORKS.filename}']\n"
        'model = dict(architecture=_base_.resnet8x4, teacher=_base_.resnet32x4)\n'
    )
    Config.fromfile(tmp_path / 'config.py').dump(tmp_path / 'dumped.py')
    model = Config.fromfile(tmp_path / 'dumped.py').model
    assert model == dict(architecture=NETWORKS.resnet8x4, teacher=NETWORKS.resnet32x4)


@pytest.mark.parametrize('arch', STAGES)
def test_recorders_find_the_stages(arch):
    recorded, _ = record(build(arch).backbone, STAGES[arch])
    assert {name: tuple(map_.shape[1:]) for name, map_ in recorded.items()} == STAGES[arch]


@pytest.mark.parametrize('arch', ['resnet20', 'vgg8', 'mobilenetv2', 'shufflenetv1'])
def test_returns_the_stages_that_are_asked_for(arch):
    recorded, maps = record(build(arch, out_indices=(0, 2)).backbone, ['layer1', 'layer3'])
    torch.testing.assert_close(maps, tuple(recorded.values()))


@pytest.mark.parametrize(
    ('arch', 'stage', 'before_relu'),
    [
        ('resnet20', 'layer1', 'layer1.2.bn2'),
        ('resnet20', 'layer3', 'layer3.2.bn2'),
        ('resnet8x4', 'layer2', 'layer2.0.bn2'),
        ('vgg8', 'layer5', 'layer5.bn1'),
        ('vgg13', 'layer3', 'layer3.bn2'),
        ('wrn16_2', 'relu', 'bn1'),
        ('wrn16_2', 'layer3.0.relu1', 'layer3.0.bn1'),
    ],
)
def test_recorders_get_what_comes_before_the_last_relu(arch, stage, before_relu):
    recorded, _ = record(build(arch).backbone, [stage, before_relu])
    assert recorded[before_relu].min() < 0
    torch.testing.assert_close(recorded[before_relu].relu(), recorded[stage])


def test_the_input_of_a_shuffle_units_relu_is_kept():
    backbone = build('shufflenetv1', out_indices=(0, 1, 2)).backbone
    sources = ['layer1.3.relu', 'layer2.7.relu', 'layer3.3.relu']
    inputs, maps = record(backbone, sources, ModuleInputsRecorder)
    for (before_relu,), stage in zip(inputs.values(), maps, strict=True):
        assert before_relu.min() < 0
        torch.testing.assert_close(before_relu.relu(), stage)


def test_distils_logits_and_a_stage_through_mmrazor():
    """Nested as users nest it, in a distiller of another scope."""
    cfg = distiller(dict(loss_kd=dict(type='KLDivergence', tau=4)))
    for recorders in (cfg['student_recorders'], cfg['teacher_recorders']):
        recorders['stage'] = dict(type='ModuleOutputs', source='backbone.layer3')
    cfg['distill_losses']['loss_stage'] = dict(type='L2Loss')
    cfg['connectors'] = dict(widen=dict(type='ConvModuleConnector', in_channel=64, out_channel=128))
    cfg['loss_forward_mappings']['loss_stage'] = dict(
        s_feature=dict(recorder='stage', from_student=True, connector='widen'),
        t_feature=dict(recorder='stage', from_student=False),
    )
    model = MODELS.build(algorithm(cfg, architecture=NETWORKS.resnet20, teacher=NETWORKS.wrn16_2))
    samples = [DataSample().set_gt_label(label) for label in (3, 99)]
    model.train()
    losses = model(torch.randn(2, 3, 32, 32), samples, mode='loss')
    assert losses['distill.loss_stage'] > 0
    model.parse_losses(losses)[0].backward()
    assert all(p.grad.abs().sum() > 0 for p in model.student.backbone.layer1.parameters())


@pytest.mark.parametrize('arch', ['shufflenetv1', 'shufflenetv2'])
def test_shufflenets_start_as_torchs_convolutions_do(arch):
    """Uniform in ±1/√fan_in; mmcv's default starts depthwise layers far smaller."""
    model = build(arch)
    model.init_weights()
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    for conv in convs:
        bound = conv.weight[0].numel() ** -0.5
        assert 0.7 * bound < conv.weight.abs().max() <= bound


def test_recorders_of_mobilenet_v1_get_what_comes_before_the_last_relu():
    backbone = MODELS.build(dict(type='skd_mmrazor.MobileNetV1', out_indices=(0, 1, 2, 3)))
    sources = [f'layer{i}.{k}.pointwise_conv.bn' for i, k in ((1, 2), (2, 1), (3, 5), (4, 1))]
    recorded, maps = record(backbone, sources)
    assert [map_.shape[1:] for map_ in maps] == [
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
        (1024, 1, 1),
    ]
    for before_relu, map_ in zip(recorded.values(), maps, strict=True):
        assert before_relu.min() < 0
        torch.testing.assert_close(before_relu.relu(), map_)


@pytest.mark.parametrize(
    ('arch', 'argument', 'value', 'expected'),
    [
        ('resnet20', 'depth', 21, '6n + 2'),
        ('resnet20', 'depth', 'twenty', '6n + 2'),
        ('resnet20', 'out_indices', (3,), '0 to 2'),
        ('wrn16_2', 'depth', 18, '6n + 4'),
        ('wrn16_2', 'widen_factor', 0.5, 'positive integer'),
        ('vgg8', 'depth', 9, '[8, 11, 13, 16, 19]'),
        ('vgg8', 'out_indices', 4, 'a sequence'),
        ('mobilenetv2', 'widen_factor', 0, '1/16'),
        ('mobilenetv2', 'out_indices', (8,), '0 to 7'),
        ('shufflenetv1', 'out_indices', (), '0 to 2'),
        ('shufflenetv2', 'out_indices', (-1,), '0 to 3'),
    ],
)
def test_refuses_wrong_arguments_by_name(arch, argument, value, expected):
    with pytest.raises(ValueError, match=rf'backbone\.{argument}=.*{re.escape(expected)}'):
        build(arch, **{argument: value})

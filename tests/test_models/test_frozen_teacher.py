import math

import pytest
import torch
from mmrazor.models.task_modules.recorder import RecorderManager
from mmrazor.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from skd_mmrazor.models.utils import FrozenTeacher, difference, fold_batch_norm

from ..conftest import batch, classifier

# Network, batch norms that have a convolution of their own, and that have not.
NETWORKS = [
    (dict(type='mmpretrain.ResNet', depth=18), 20, 0),
    (dict(type='mmpretrain.ResNet', depth=50), 53, 0),
    (dict(type='mmpretrain.VGG', depth=11, norm_cfg=dict(type='BN')), 8, 0),
    (dict(type='mmpretrain.MobileNetV2'), 52, 0),
    # Pre-activation: the sums that enter a block belong to no convolution.
    (dict(type='mmrazor.WideResNet', depth=16, num_stages=3, widen_factor=2), 7, 6),
    # A convolution's output is read by the batch norm and by the next layers.
    (dict(type='mmpretrain.DenseNet', arch='121'), 59, 62),
]


def norms(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


def train_norms(model):
    """Statistics and weights of batch norm as if it had been trained."""
    for norm in norms(model):
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 1.5)
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.2)
    return model


@pytest.mark.parametrize(
    ('cfg', 'folded', 'left'), NETWORKS, ids=lambda v: v['type'] if isinstance(v, dict) else ''
)
@torch.no_grad()
def test_folding_changes_no_output(cfg, folded, left):
    model = train_norms(MODELS.build(cfg))
    model.eval()
    images = torch.randn(2, 3, 32, 32)
    before = list(model(images))
    assert fold_batch_norm(model, lambda: model(images)) == folded
    assert len(norms(model)) == left
    assert difference(list(model(images)), before) < 1e-5


@torch.no_grad()
def test_layers_that_are_called_twice_or_train_are_left():
    conv, norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)
    twice = torch.nn.Sequential(conv, norm, conv, norm).eval()
    training = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3))
    for model in (twice, training):
        assert fold_batch_norm(model, lambda m=model: m(torch.randn(2, 3, 4, 4))) == 0


@pytest.mark.parametrize(
    ('arguments', 'folded'),
    [
        ({}, 1),
        # Normalised by the batch, in evaluation too.
        (dict(track_running_stats=False), 0),
        (dict(affine=False), 0),
    ],
    ids=str,
)
@torch.no_grad()
def test_batch_norm_without_what_is_folded_is_left(arguments, folded):
    conv, norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4, **arguments)
    if norm.affine and norm.track_running_stats:
        train_norms(torch.nn.Sequential(norm))
    model = torch.nn.Sequential(conv, norm).eval()
    images = torch.randn(2, 3, 4, 5)
    before = model(images)
    assert fold_batch_norm(model, lambda: model(images)) == folded
    torch.testing.assert_close(model(images), before, rtol=1e-5, atol=1e-5)


EYE = torch.eye(5).double()


class Reader(torch.nn.Module):
    """Reads a convolution's output beside its batch norm, in a way of its own."""

    def __init__(self, read):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)
        self.read = read

    def forward(self, images):
        maps = self.conv(images)
        return self.read(maps, self.norm(maps))


@pytest.mark.parametrize(
    ('read', 'folded'),
    [
        (lambda maps, normed: normed, 1),
        (lambda maps, normed: normed + maps, 0),
        (lambda maps, normed: torch.cat([normed, maps]), 0),
        (lambda maps, normed: normed.double() @ EYE, 1),
    ],
    ids=['alone', 'added', 'in a list', 'in another type'],
)
@torch.no_grad()
def test_a_convolution_that_others_read_is_left(read, folded):
    model = train_norms(Reader(read)).eval()
    images = torch.randn(2, 3, 4, 5)
    before = model(images)
    assert fold_batch_norm(model, lambda: model(images)) == folded
    torch.testing.assert_close(model(images), before, rtol=1e-5, atol=1e-5)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def frozen_teacher(**sources):
    model = train_norms(MODELS.build(classifier(4))).eval()
    outputs = dict(type='mmrazor.ModuleOutputs')
    recorders = RecorderManager({n: dict(outputs, source=s) for n, s in sources.items()})
    recorders.initialize(model)
    return model, FrozenTeacher(model, recorders)


def test_recorders_of_the_teacher_record_the_copy_and_their_layers_stay():
    model, frozen = frozen_teacher(
        fc='head.fc', bn='backbone.bn1', conv='backbone.layer1.0.conv1', block='backbone.layer2.1'
    )
    data = batch()
    before = frozen.record(*data)
    assert all(len(values) == 1 for values in before.values())
    total = len(norms(model))
    assert frozen.fold_batch_norm(*data) == total - 2
    assert (len(norms(frozen.module)), len(norms(model))) == (2, total)
    assert difference(list(frozen.record(*data).values()), list(before.values())) < 1e-5


def test_what_is_recorded_is_contiguous_and_float32():
    _, frozen = frozen_teacher(block='backbone.layer2.1', maps='backbone')
    data = batch()
    before = frozen.record(*data)['block']
    frozen.to_channels_last()
    frozen.to_dtype(torch.bfloat16)
    seen = []
    frozen.module.backbone.layer2[1].register_forward_hook(lambda *args: seen.append(args[2]))
    records = frozen.record(*data)
    after = records['block']
    assert seen[0].dtype is torch.bfloat16
    assert not seen[0].is_contiguous()
    for record in (after[0], records['maps'][0][0]):
        assert record.dtype is torch.float32
        assert record.is_contiguous()
    assert 0 < difference(after, before) < 0.1


@pytest.mark.parametrize(
    ('found', 'expected'),
    [
        ([], [torch.ones(2)]),
        (None, torch.ones(2)),
        (torch.ones(3), torch.ones(2)),
        (torch.tensor([1.0, math.nan]), torch.ones(2)),
        ([[torch.tensor([1.0, math.inf])]], [[torch.ones(2)]]),
    ],
)
def test_a_record_that_is_missing_or_of_another_form_is_far_off(found, expected):
    assert difference(found, expected) == math.inf


def test_differences_are_parts_of_the_largest_value():
    pair = (torch.tensor([10.0, 1.0]), torch.ones(3))
    assert difference((torch.tensor([10.0, 2.0]), torch.ones(3)), pair) == pytest.approx(0.1)
    assert difference(torch.tensor([1e-4, 0]), torch.tensor([1e-4, -2e-4])) == pytest.approx(1)
    assert difference('a', 'b') == 0

"""MobileNetV1 of ImageNet is the network of its paper, layer by layer."""

import torch
from mmengine.config import Config
from mmrazor.registry import MODELS
from torch import nn

from ..conftest import ROOT


def plain_mobilenet_v1():
    """The paper's table 1, layer by layer, without anything of ours."""

    def block(before, width, stride, groups=1, kernel=3):
        return [
            nn.Conv2d(before, width, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        ]

    layers, before = block(3, 32, 2), 32
    widths = (64, 128, 128, 256, 256, *(512,) * 6, 1024, 1024)
    for index, width in enumerate(widths):
        stride = 2 if index in (1, 3, 5, 11) else 1
        layers += block(before, before, stride, groups=before)
        layers += block(before, width, 1, kernel=1)
        before = width
    return nn.Sequential(*layers, nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, 1000))


def test_mobilenet_v1_is_the_papers():
    plain = plain_mobilenet_v1().double()
    networks = Config.fromfile(ROOT / 'configs/_base_/models/imagenet_networks.py')
    model = MODELS.build(networks.mobilenetv1).double()
    assert sum(p.numel() for p in model.parameters()) == 4_231_976
    model.init_weights()
    starts = list(model.parameters()), list(plain.parameters())
    for ours, theirs in zip(*starts, strict=True):
        assert ours.shape == theirs.shape
        # Uniform, or constant: the ranges tell all.
        torch.testing.assert_close(ours.max(), theirs.max(), atol=0, rtol=0.1)
        torch.testing.assert_close(ours.min(), theirs.min(), atol=0, rtol=0.1)
    state = zip(model.state_dict(), plain.state_dict().values(), strict=True)
    model.load_state_dict(dict(state))
    images = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    for network in (model, plain):
        network.train()  # the batch's own statistics, or the logits vanish
    logits = model(images)
    torch.testing.assert_close(logits, plain(images), atol=1e-12, rtol=1e-12)
    logits.square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())

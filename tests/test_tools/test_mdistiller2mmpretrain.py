"""Checkpoints of mdistiller become checkpoints of our networks, or errors."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner import load_checkpoint

from ..conftest import ROOT
from . import mdistiller_weights

sys.path.insert(0, str(ROOT / 'tools' / 'model_converters'))
import mdistiller2mmpretrain as converter

# One weight of each kind of layer, by its name there and here.
NAMES = dict(
    resnet8x4={
        'conv1.weight': 'backbone.conv1.weight',
        'layer2.0.bn2.running_var': 'backbone.layer2.0.bn2.running_var',
        'layer3.0.downsample.1.bias': 'backbone.layer3.0.downsample.1.bias',
        'fc.bias': 'head.fc.bias',
    },
    wrn16_2={
        'block1.layer.0.convShortcut.weight': 'backbone.layer1.0.downsample.weight',
        'block3.layer.1.conv2.weight': 'backbone.layer3.1.conv2.weight',
        'bn1.running_mean': 'backbone.bn1.running_mean',
        'fc.weight': 'head.fc.weight',
    },
    vgg13={
        'block0.0.bias': 'backbone.layer1.conv1.bias',
        'block3.3.weight': 'backbone.layer4.conv2.weight',
        'block4.1.weight': 'backbone.layer5.bn1.weight',
        'block4.4.weight': 'backbone.layer5.bn2.weight',
        'classifier.weight': 'head.fc.weight',
    },
    mobilenetv2={
        'conv1.0.weight': 'backbone.conv1.conv.weight',
        'conv1.1.bias': 'backbone.conv1.bn.bias',
        'blocks.0.0.conv.0.weight': 'backbone.layer1.0.conv1.conv.weight',
        'blocks.3.2.conv.1.weight': 'backbone.layer4.2.conv1.bn.weight',
        'blocks.3.2.conv.3.weight': 'backbone.layer4.2.conv2.conv.weight',
        'blocks.3.2.conv.4.weight': 'backbone.layer4.2.conv2.bn.weight',
        'blocks.6.0.conv.6.weight': 'backbone.layer7.0.conv3.conv.weight',
        'blocks.6.0.conv.7.weight': 'backbone.layer7.0.conv3.bn.weight',
        'conv2.1.weight': 'backbone.conv2.bn.weight',
        'classifier.0.weight': 'head.fc.weight',
    },
    shufflenetv1={
        'bn1.weight': 'backbone.conv1.bn.weight',
        'layer1.0.conv1.weight': 'backbone.layer1.0.conv1.conv.weight',
        'layer2.7.bn2.bias': 'backbone.layer2.7.conv2.bn.bias',
        'layer3.3.bn3.weight': 'backbone.layer3.3.conv3.bn.weight',
        'linear.weight': 'head.fc.weight',
    },
    shufflenetv2={
        'conv1.weight': 'backbone.conv1.conv.weight',
        'bn2.weight': 'backbone.conv2.bn.weight',
        'layer1.0.conv1.weight': 'backbone.layer1.0.branch1.0.conv.weight',
        'layer2.0.bn2.weight': 'backbone.layer2.0.branch1.1.bn.weight',
        'layer2.0.conv3.weight': 'backbone.layer2.0.branch2.0.conv.weight',
        'layer3.0.bn4.weight': 'backbone.layer3.0.branch2.1.bn.weight',
        'layer3.0.bn5.weight': 'backbone.layer3.0.branch2.2.bn.weight',
        'layer2.7.conv1.weight': 'backbone.layer2.7.branch2.0.conv.weight',
        'layer2.7.bn3.weight': 'backbone.layer2.7.branch2.2.bn.weight',
        'linear.bias': 'head.fc.bias',
    },
    resnet50={
        'layer3.5.bn3.weight': 'backbone.layer3.5.bn3.weight',
        'layer4.0.shortcut.0.weight': 'backbone.layer4.0.downsample.0.weight',
        'linear.weight': 'head.fc.weight',
    },
)


def reference(arch):
    return mdistiller_weights.weights(getattr(mdistiller_weights, arch)())


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['mdistiller2mmpretrain.py', *map(str, arguments)])
    converter.main()


@pytest.mark.parametrize('arch', NAMES)
def test_every_weight_finds_its_place(arch):
    weights = reference(arch)
    converted = converter.convert(weights, arch)
    assert len(converted) == len(weights)
    for theirs, ours in NAMES[arch].items():
        assert converted[ours] is weights[theirs], theirs
    converter.build(arch).load_state_dict(converted)


def test_the_file_gives_the_logits_of_its_network(tmp_path, monkeypatch):
    """Against resnet8x4 written out as functions, in the names of the file."""
    weights = reference('resnet8x4')

    def conv_bn(x, conv, bn, stride=1):
        kernel = weights[f'{conv}.weight']
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        names = ('running_mean', 'running_var', 'weight', 'bias')
        return F.batch_norm(x, *(weights[f'{bn}.{name}'] for name in names))

    images = torch.randn(4, 3, 32, 32)
    x = conv_bn(images, 'conv1', 'bn1').relu()
    for block, stride in (('layer1.0', 1), ('layer2.0', 2), ('layer3.0', 2)):
        shortcut = conv_bn(x, f'{block}.downsample.0', f'{block}.downsample.1', stride)
        x = conv_bn(x, f'{block}.conv1', f'{block}.bn1', stride).relu()
        x = (conv_bn(x, f'{block}.conv2', f'{block}.bn2') + shortcut).relu()
    expected = x.mean(dim=(2, 3)) @ weights['fc.weight'].T + weights['fc.bias']

    # As the old torch of the published files wrote them.
    torch.save(
        dict(epoch=240, model=weights),
        tmp_path / 'old.pth',
        _use_new_zipfile_serialization=False,
    )
    run(monkeypatch, tmp_path / 'old.pth', tmp_path / 'made' / 'new.pth', '--arch', 'resnet8x4')
    model = converter.build('resnet8x4').eval()
    load_checkpoint(model, str(tmp_path / 'made' / 'new.pth'), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(model(images), expected)


def without(weights, name):
    return {key: weight for key, weight in weights.items() if key != name}


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ('ran',)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda w: dict(model=without(w, 'bn1.bias')), '1 missing: backbone.bn1.bias$'),
        (lambda w: dict(model=w | {'extra': w['fc.bias']}), '1 unused: extra$'),
        (lambda w: dict(model=w | {'head.fc.bias': w['fc.bias']}), '1 unused: fc.bias$'),
        (
            lambda w: dict(model=w | {'fc.bias': torch.zeros(10)}),
            r'1 of another shape: fc.bias \(10,\) for \(100,\)$',
        ),
        (lambda w: dict(model=reference('vgg13')), 'expected the weights of resnet8x4; .* unused'),
        (lambda w: dict(state_dict=w), r"expected a dict of tensors as 'model', found \['state_d"),
        (lambda w: dict(model=list(w)), "expected a dict of tensors as 'model'"),
        (lambda w: list(w), "expected a dict of tensors as 'model', found <class 'list'>"),
    ],
    ids=['missing', 'unused', 'twice', 'shape', 'other', 'no-model', 'no-dict', 'list'],
)
def test_refuses_a_file_that_is_not_the_network(spoil, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(spoil(reference('resnet8x4')), 'wrong.pth')
    with pytest.raises(SystemExit, match=rf'^wrong\.pth: .*{message}'):
        run(monkeypatch, 'wrong.pth', 'new.pth', '--arch', 'resnet8x4')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['wrong.pth']


@pytest.mark.parametrize('damage', ['cut', 'code'])
def test_refuses_what_cannot_be_read_by_name(tmp_path, monkeypatch, damage):
    """In one sentence, without torch's advice to run the code of the file."""
    monkeypatch.chdir(tmp_path)
    torch.save(dict(model=reference('resnet8x4'), opt=RunsCode()), 'half.pth')
    if damage == 'cut':
        Path('half.pth').write_bytes(Path('half.pth').read_bytes()[:100_000])
    message = (
        "^'half.pth' cannot be read, expected a whole checkpoint that holds weights and no code"
    )
    with pytest.raises(pickle.UnpicklingError, match=message) as caught:
        run(monkeypatch, 'half.pth', 'new.pth', '--arch', 'resnet8x4')
    assert 'weights_only' not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ['half.pth']

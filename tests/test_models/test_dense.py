"""Segmentation's and detection's logits: the configs of docs/dense_and_detection.md."""

import re
import runpy
from pathlib import Path

import mmrazor
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from mmrazor.registry import MODELS
from torch import nn

from ..conftest import ROOT

DISTILL = Path(mmrazor.__file__).parent / '.mim' / 'configs' / 'distill'
BLOCKS = re.findall(
    r'```python\n(.*?)```', (ROOT / 'docs' / 'dense_and_detection.md').read_text(), re.DOTALL
)


class Pyramid(nn.Module):
    def forward(self, inputs):
        return tuple(inputs[..., :: 2**i, :: 2**i].contiguous() for i in range(5))


class GFLHead(nn.Module):
    """One anchor a location, and a sigmoid for each class."""

    def __init__(self, classes):
        super().__init__()
        self.num_classes = self.cls_out_channels = classes
        self.use_sigmoid_cls = True
        self.gfl_cls = nn.Conv2d(3, classes, 3, padding=1)


class Network(BaseModel):
    """Convolutions under the names of PSPNet's or GFL's modules."""

    def __init__(self, detects, classes=5):
        super().__init__()
        self.neck = Pyramid()
        if detects:
            self.bbox_head = GFLHead(classes)
        else:
            self.decode_head = nn.ModuleDict({'conv_seg': nn.Conv2d(3, classes, 1)})

    def forward(self, inputs, data_samples=None, mode='loss'):
        levels = self.neck(inputs)
        if hasattr(self, 'bbox_head'):
            logits = [self.bbox_head.gfl_cls(level) for level in levels]
        else:
            logits = [self.decode_head['conv_seg'](inputs)]
        return dict(loss=sum(level.square().mean() for level in logits))


def read(block):
    """The distiller of a block of the docs, over its bases in mmrazor.

    Those name mmsegmentation and mmdetection, so only mmrazor's files are read.
    """
    namespace = {}
    exec(block, namespace)
    path = DISTILL / namespace['_base_'][0].removeprefix('mmrazor::distill/')
    # GFL's config is Faster R-CNN's with other models.
    base = ['cwd_fpn_frcnn_r101_frcnn_r50_1x_coco.py'] if 'gfl' in path.name else []
    cfg = ConfigDict()
    for name in [*base, path.name]:
        part = runpy.run_path(str(path.with_name(name)))['model']
        cfg = Config._merge_a_into_b(ConfigDict(model=part), cfg)
    return Config._merge_a_into_b(ConfigDict(model=namespace['model']), cfg).model


def algorithm(model, detects):
    networks = [Network(detects) for _ in range(2)]
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type=model.type,
            architecture=networks[0],
            teacher=networks[1],
            distiller=model.distiller,
        )
    )


@pytest.mark.parametrize(
    ('block', 'simplified'), [(0, ['loss_cwd']), (1, ['loss_skd']), (2, ['loss_cls'])]
)
def test_the_documented_configs_train(block, simplified):
    model = algorithm(read(BLOCKS[block]), detects=block > 0)
    mappings = model.distiller.loss_forward_mappings
    assert [n for n, m in mappings.items() if m['preds_T'].get('simplify')] == simplified
    images = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        losses = model(images, mode='loss')
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        optimizer.step()
    for name, parameter in model.distiller.simplifier.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_pyramid_without_a_known_head_is_not_taken_for_logits():
    message = r'logits_module=None, expected the module of the logits of the teacher'
    with pytest.raises(ValueError, match=message):
        algorithm(read(BLOCKS[1]), detects=False)

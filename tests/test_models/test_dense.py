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


class Network(BaseModel):
    """Convolutions under the names of PSPNet's and GFL's modules."""

    def __init__(self, classes=5):
        super().__init__()
        self.neck = nn.ModuleDict({'fpn_convs': nn.ModuleList([_Conv() for _ in range(5)])})
        self.decode_head = nn.ModuleDict({'conv_seg': nn.Conv2d(3, classes, 1)})
        self.bbox_head = nn.ModuleDict({'gfl_cls': nn.Conv2d(3, classes, 3, padding=1)})

    def forward(self, inputs, data_samples=None, mode='loss'):
        for conv in self.neck['fpn_convs']:
            conv.conv(inputs)
        logits = self.decode_head['conv_seg'](inputs)
        for level in (inputs, inputs[..., ::2, ::2]):
            self.bbox_head['gfl_cls'](level)
        return dict(loss=logits.square().mean())


class _Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)


def read(block):
    """The distiller of a block of the docs, over its bases in mmrazor.

    Those name mmsegmentation and mmdetection, so only mmrazor's files are read.
    """
    namespace = {}
    exec(block, namespace)
    path = DISTILL / namespace['_base_'][0].removeprefix('mmrazor::distill/')
    # GFL's config is RetinaNet's with other models.
    base = ['cwd_fpn_retina_r101_retina_r50_1x_coco.py'] if 'gfl' in path.name else []
    cfg = ConfigDict()
    for name in [*base, path.name]:
        part = runpy.run_path(str(path.with_name(name)))['model']
        cfg = Config._merge_a_into_b(ConfigDict(model=part), cfg)
    return Config._merge_a_into_b(ConfigDict(model=namespace['model']), cfg).model.distiller


def algorithm(distiller):
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type='SingleTeacherDistill',
            architecture=Network(),
            teacher=Network(),
            distiller=distiller,
        )
    )


@pytest.mark.parametrize(
    ('block', 'simplified'), [(0, ['loss_cwd']), (1, ['loss_cls_0', 'loss_cls_1'])]
)
def test_the_documented_configs_train(block, simplified):
    model = algorithm(read(BLOCKS[block]))
    mappings = model.distiller.loss_forward_mappings
    assert [n for n, m in mappings.items() if m['preds_T'].get('simplify')] == simplified
    images = torch.randn(2, 3, 8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        losses = model(images, mode='loss')
        sum(value for key, value in losses.items() if 'loss' in key).backward()
        optimizer.step()
    for name, parameter in model.distiller.simplifier.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_pyramid_alone_is_not_taken_for_logits():
    """The losses of mmrazor's config for a detector's pyramid, with SKD's lines."""
    path = DISTILL / 'mmdet/cwd/cwd_fpn_frcnn_r101_frcnn_r50_1x_coco.py'
    distiller = ConfigDict(runpy.run_path(str(path))['model']['distiller'])
    assert len(distiller.distill_losses) == 5
    distiller.update(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
    with pytest.raises(
        ValueError, match=r"logits_module='head\.fc', expected a module of the student"
    ):
        algorithm(distiller)

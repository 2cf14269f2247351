"""Detectors and segmentors without mmdetection and mmsegmentation.

Those need the operators of mmcv, so these are stand-ins with the names and shapes of their
modules; ``-m dense`` runs the same on mmdetection itself.
"""

import copy

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmrazor.registry import MODELS
from torch import nn

CLASSES, ANCHORS = 5, 3


class AnchorHead(nn.Module):
    """Calls one convolution for each level."""

    name = 'conv_cls'

    def __init__(self, classes=CLASSES, anchors=ANCHORS, use_sigmoid_cls=True):
        super().__init__()
        self.num_classes = classes
        self.use_sigmoid_cls = use_sigmoid_cls
        self.cls_out_channels = classes if use_sigmoid_cls else classes + 1
        self.add_module(self.name, nn.Conv2d(4, anchors * self.cls_out_channels, 3, padding=1))
        self.reg = nn.Conv2d(4, anchors * 4, 3, padding=1)

    def forward(self, levels):
        return [self.forward_single(level) for level in levels]

    def forward_single(self, level):
        return getattr(self, self.name)(level)


class RetinaHead(AnchorHead):
    name = 'retina_cls'


class RPNHead(AnchorHead):
    name = 'rpn_cls'

    def __init__(self):
        super().__init__(classes=1)


class BaseDetector(BaseModel):
    """As all detectors of mmdetection are."""


class Detector(BaseDetector):
    """A pyramid of two levels, a dense head, and a head of proposals."""

    def __init__(self, head=None, runs_head=True):
        super().__init__()
        self.neck = nn.Conv2d(3, 4, 3, padding=1)
        self.bbox_head = head or RetinaHead()
        self.roi_head = nn.ModuleDict({'fc_cls': nn.Linear(4, CLASSES + 1)})
        self.roi_head.num_classes = CLASSES
        self.runs_head = runs_head

    def forward(self, inputs, data_samples=None, mode='loss'):
        levels = [self.neck(inputs), self.neck(F.avg_pool2d(inputs, 2))]
        scores = self.bbox_head(levels) if self.runs_head else levels
        self.roi_head['fc_cls'](levels[0].mean(dim=(2, 3)))
        return dict(loss=sum(level.square().mean() for level in scores))


NECK = dict(type='ModuleOutputs', source='neck')
FEATURES = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(fpn=NECK),
    teacher_recorders=dict(fpn=NECK),
    distill_losses=dict(loss_pkd=dict(type='PKDLoss')),
    loss_forward_mappings=dict(
        loss_pkd=dict(
            preds_S=dict(recorder='fpn', from_student=True),
            preds_T=dict(recorder='fpn', from_student=False),
        )
    ),
)
SKD = dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))


def build(student=None, teacher=None, distiller=FEATURES, **arguments):
    cfg = dict(copy.deepcopy(distiller), **copy.deepcopy(dict(SKD, **arguments)))
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type='SingleTeacherDistill',
            architecture=student or Detector(),
            teacher=teacher or Detector(),
            distiller=cfg,
        )
    )


def step(model, size=8):
    losses = model(torch.randn(2, 3, size, size), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    return losses


def logits(model, side, images):
    """The logits of all levels as a user would compute them: (A * N, C, locations)."""
    levels = [getattr(model, side).neck(x) for x in (images, F.avg_pool2d(images, 2))]
    scores = getattr(model, side).bbox_head(levels)
    return torch.cat([s.reshape(-1, CLASSES, s.shape[2] * s.shape[3]) for s in scores], dim=2)


class UnknownHead(AnchorHead):
    name = 'own_cls'


class BaseDecodeHead(nn.Module):
    def __init__(self, num_classes=CLASSES, out_channels=CLASSES, use_sigmoid=False):
        super().__init__()
        self.num_classes, self.out_channels = num_classes, out_channels
        self.conv_seg = nn.Conv2d(3, out_channels, 1)
        self.loss_decode = nn.CrossEntropyLoss()
        self.loss_decode.use_sigmoid = use_sigmoid


class Segmentor(BaseModel):
    """A map of some stride, or several of them."""

    def __init__(self, stride=1, calls=1, **head):
        super().__init__()
        self.decode_head = BaseDecodeHead(**head)
        self.stride, self.calls = stride, calls

    def forward(self, inputs, data_samples=None, mode='loss'):
        inputs = F.avg_pool2d(inputs, self.stride)
        return dict(loss=sum(self.decode_head.conv_seg(inputs).mean() for _ in range(self.calls)))


def cwd(connectors=None, source='decode_head.conv_seg', **entry):
    """CWD of the logits; the entry is added to the teacher's."""
    logits = dict(logits=dict(type='ModuleOutputs', source=source))
    records = {
        'preds_S': dict(recorder='logits', from_student=True, record_idx=0),
        'preds_T': dict(recorder='logits', from_student=False, **entry),
    }
    return dict(
        type='ConfigurableDistiller',
        student_recorders=logits,
        teacher_recorders=logits,
        connectors=connectors,
        distill_losses=dict(loss_cwd=dict(type='ChannelWiseDivergence')),
        loss_forward_mappings=dict(loss_cwd=records),
    )


NOTHING = dict(type='ConfigurableDistiller')


def of_all_levels(loss):
    """A loss of the logits of all levels, by name."""
    record = dict(recorder='cls', record_idx='all')
    cls = dict(cls=dict(type='ModuleOutputs', source='bbox_head.retina_cls'))
    records = dict(
        preds_S=dict(record, from_student=True), preds_T=dict(record, from_student=False)
    )
    return dict(
        type='ConfigurableDistiller',
        student_recorders=cls,
        teacher_recorders=cls,
        distill_losses=dict(loss_cls=loss),
        loss_forward_mappings=dict(loss_cls=records),
    )


@MODELS.register_module()
class LargestDifference(nn.Module):
    """A loss of the user's own, which takes maps of many locations alone."""

    def __init__(self, detach=False):
        super().__init__()
        self.detach = detach

    def forward(self, preds_S, preds_T):
        assert preds_S.shape[2:].numel() > 8
        assert preds_S.shape[:2] == preds_T.shape[:2] == (2 * ANCHORS, CLASSES)
        return (preds_S - (preds_T.detach() if self.detach else preds_T)).abs().amax()

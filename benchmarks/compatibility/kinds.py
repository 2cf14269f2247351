"""A stand-in for each kind of published distillation config."""

import copy
from typing import Any

import torch
from mmrazor.registry import MODELS
from torch import nn

CE = dict(type='CrossEntropyLoss')
KL = dict(type='KLDivergence', tau=4)
FC = dict(type='ModuleOutputs', source='head.fc')
METHOD = 'mmpretrain.models.heads.linear_head.LinearClsHead.forward'


@MODELS.register_module()
class MarginLoss(nn.Module):
    """A user's own loss, with other names of arguments and temperature than mmrazor's."""

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Mean squared distance of the softened logits."""
        return ((student_logits - teacher_logits) / self.temperature).square().mean()


def network(backbone: dict | None = None, head: dict | None = None, classes: int = 10) -> dict:
    """A small classifier of images of 64² pixels."""
    resnet = dict(type='ResNet', depth=18, base_channels=8, stem_channels=8)
    linear = dict(type='LinearClsHead', num_classes=classes, in_channels=64, loss=CE)
    neck = dict() if backbone else dict(neck=dict(type='GlobalAveragePooling'))
    parts = dict(backbone=backbone or resnet, head=head or linear, **neck)
    return dict(_scope_='mmpretrain', type='ImageClassifier', **parts)


def records(names: tuple[str, str], recorder: str, **keys: Any) -> dict:
    """The student's and the teacher's record of one recorder."""
    student, teacher = names
    return {
        student: dict(recorder=recorder, from_student=True, **keys),
        teacher: dict(recorder=recorder, from_student=False, **keys),
    }


PREDS, FEATURES = ('preds_S', 'preds_T'), ('s_feature', 't_feature')
LABELS = dict(gt_labels=dict(recorder='labels', from_student=True, data_idx=1))
LOSS_INPUTS = dict(type='ModuleInputs', source='head.loss_module')
POOLED = dict(type='ModuleOutputs', source='neck')


def distiller(recorders: dict, **losses: tuple[dict, dict]) -> dict:
    """A distiller with the same recorders for student and teacher."""
    return dict(
        student_recorders=recorders,
        teacher_recorders=recorders,
        distill_losses={name: loss for name, (loss, _) in losses.items()},
        loss_forward_mappings={name: mapping for name, (_, mapping) in losses.items()},
    )


def of_logits(source: dict, loss: dict = KL, names: tuple[str, str] = PREDS, **more: dict) -> dict:
    """A distiller with one loss of logits."""
    mapping = records(names, 'logits') | (LABELS if 'labels' in more else {})
    return distiller(dict(logits=source, **more), loss_logits=(loss, mapping))


VGG = network(dict(type='VGG', depth=11, num_classes=10), dict(type='ClsHead', loss=CE))
VIT = network(
    dict(type='VisionTransformer', arch='deit-tiny', img_size=64, patch_size=16),
    dict(type='VisionTransformerClsHead', num_classes=10, in_channels=192, loss=CE),
)
ONE_LABEL = network(head=dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=64))
WSLD = dict(type='WSLD', tau=2, num_classes=10)
DIST = dict(type='DISTLoss', tau=4)
L2 = dict(type='L2Loss')

# By kind: what records the logits, the losses, the networks, the distiller, further lines.
KINDS: list[tuple[str, str, tuple[dict, dict], dict, dict]] = []


def kind(recorded: str, losses: str, cfg: dict, models: Any = None, **besides: Any) -> None:
    """Adds a row."""
    models = models or (network(), network())
    KINDS.append((recorded, losses, models, cfg, besides))


kind('`head.fc`', 'KL', of_logits(FC))
kind('`head.fc`', 'DKD, labels', of_logits(FC, dict(type='DKDLoss', tau=4), labels=LOSS_INPUTS))
kind('`head.fc`', 'DIST', of_logits(FC, DIST, ('logits_S', 'logits_T')))
kind(
    *('`head.fc`', 'WSLD, labels'),
    of_logits(FC, WSLD, ('student', 'teacher'), labels=LOSS_INPUTS),
)
kind('`head.fc`', 'L2', of_logits(FC, L2, FEATURES))
kind(
    'a layer of the backbone', 'KL', of_logits(dict(FC, source='backbone.classifier.6')), (VGG, VGG)
)
kind('`head.layers.head`', 'KL', of_logits(dict(FC, source='head.layers.head')), (VIT, VIT))
kind('a method of the head', 'KL', of_logits(dict(type='MethodOutputs', source=METHOD)))
kind(
    'inputs of the loss',
    'KL, first of several',
    distiller(dict(logits=LOSS_INPUTS), loss_logits=(KL, records(PREDS, 'logits', data_idx=0))),
)
kind(
    '`head.fc`',
    "KL, L2 of the layer's inputs",
    distiller(
        dict(logits=FC, inputs=dict(FC, type='ModuleInputs')),
        loss_logits=(KL, records(PREDS, 'logits')),
        loss_inputs=(L2, records(FEATURES, 'inputs', data_idx=0)),
    ),
)
kind(
    'nothing',
    'RKD of pooled features',
    distiller(
        dict(pooled=POOLED),
        loss_rkd=(dict(type='DistanceWiseRKD'), records(PREDS, 'pooled', data_idx=0)),
    ),
)
kind(
    'nothing',
    'CWD of a stage',
    distiller(
        dict(stage=dict(FC, source='backbone.layer4')),
        loss_cwd=(dict(type='ChannelWiseDivergence'), records(PREDS, 'stage')),
    ),
)
kind(
    'nothing, ViT ← CNN',
    'RKD of pooled features',
    dict(
        distiller(
            dict(pooled=POOLED),
            loss_rkd=(dict(type='DistanceWiseRKD'), records(PREDS, 'pooled', data_idx=0)),
        ),
        student_recorders=dict(pooled=dict(FC, type='ModuleInputs', source='head.layers.head')),
    ),
    (VIT, network()),
)
kind(
    '`head.fc`',
    'one of its own',
    of_logits(FC, dict(type='MarginLoss'), ('student_logits', 'teacher_logits')),
)
kind(
    '`head.fc`',
    'one of its own',
    of_logits(FC, dict(type='MarginLoss'), ('student_logits', 'teacher_logits')),
    simplified_losses=dict(loss_logits='teacher_logits'),
)
kind(
    '`head.fc`',
    'KL and hard labels of the teacher',
    distiller(
        dict(logits=FC),
        loss_kl=(KL, records(PREDS, 'logits')),
        loss_hard=(dict(type='mmrazor.CrossEntropyLoss'), records(PREDS, 'logits')),
    ),
)
kind(
    '`head.fc`',
    'KL and hard labels of the teacher',
    copy.deepcopy(KINDS[-1][3]),
    simplified_losses=dict(loss_kl='preds_T'),
)
kind(
    '`head.fc`',
    'KL of two temperatures',
    distiller(
        dict(logits=FC),
        loss_a=(KL, records(PREDS, 'logits')),
        loss_b=(dict(KL, tau=2), records(PREDS, 'logits')),
    ),
)
kind(
    '`head.fc`, 20 classes to 10 by a connector',
    'KL',
    dict(
        of_logits(FC),
        connectors=dict(
            map=dict(
                type='TorchNNConnector',
                module_name='Linear',
                module_args=dict(in_features=20, out_features=10),
            )
        ),
        loss_forward_mappings=dict(
            loss_logits=dict(
                preds_S=dict(recorder='logits', from_student=True),
                preds_T=dict(recorder='logits', from_student=False, connector='map'),
            )
        ),
    ),
    (network(), network(classes=20)),
)
kind(
    '`head.fc` of another number of classes', 'KL', of_logits(FC), (network(), network(classes=20))
)
kind('`head.fc` of classes under a sigmoid', 'KL', of_logits(FC), (ONE_LABEL, ONE_LABEL))
kind(
    'nothing; classes under a sigmoid',
    'RKD of pooled features',
    copy.deepcopy(KINDS[10][3]),
    (ONE_LABEL, ONE_LABEL),
)

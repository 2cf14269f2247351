"""Knowledge distillation on the digits, into a student of 2,900 parameters."""

from mmengine.config import read_base
from mmpretrain.models import (
    CrossEntropyLoss,
    GlobalAveragePooling,
    ImageClassifier,
    LinearClsHead,
    ResNet_CIFAR,
)
from mmrazor.models import ConfigurableDistiller, KLDivergence, SingleTeacherDistill

from skd_mmrazor.engine.runner import FrozenTeacherValLoop

with read_base():
    from .resnet14_w16_60e_digits import *

teacher = model
student = dict(
    type=ImageClassifier,
    backbone=dict(
        type=ResNet_CIFAR,
        depth=18,
        in_channels=1,
        stem_channels=4,
        base_channels=4,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
        # Few channels and 60 epochs: start with every path open.
        zero_init_residual=False,
    ),
    neck=dict(type=GlobalAveragePooling),
    head=dict(
        type=LinearClsHead,
        num_classes=10,
        in_channels=8,
        init_cfg=dict(type='Normal', layer='Linear', std=0.1),
        loss=dict(type=CrossEntropyLoss),
    ),
)

model = dict(
    type=SingleTeacherDistill,
    architecture=student,
    teacher=teacher,
    teacher_ckpt='work_dirs/resnet14-w16_60e_digits/epoch_60.pth',
    distiller=dict(
        type=ConfigurableDistiller,
        # A name: mmrazor puts 'Recorder' behind it.
        student_recorders=dict(fc=dict(type='mmrazor.ModuleOutputs', source='head.fc')),
        teacher_recorders=dict(fc=dict(type='mmrazor.ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_kl=dict(type=KLDivergence, tau=4, loss_weight=1)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            )
        ),
    ),
)

val_cfg = dict(type=FrozenTeacherValLoop)

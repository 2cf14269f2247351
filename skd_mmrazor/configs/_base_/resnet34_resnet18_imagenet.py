"""ResNet-34 -> ResNet-18 on ImageNet; the losses are left to the experiments."""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import MultiStepLR
from mmpretrain.datasets import (
    CenterCrop,
    ImageNet,
    LoadImageFromFile,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    ResizeEdge,
)
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import (
    ClsDataPreprocessor,
    CrossEntropyLoss,
    GlobalAveragePooling,
    ImageClassifier,
    LinearClsHead,
    ResNet,
)
from mmrazor.models import SingleTeacherDistill
from torch.optim import SGD

from skd_mmrazor.engine.runner import FrozenTeacherValLoop
from skd_mmrazor.models import AttentionSimplifierConnector, SKDDistiller

with read_base():
    from .default_runtime import *

data_preprocessor = dict(
    type=ClsDataPreprocessor,
    num_classes=1000,
    # RGB format normalization parameters
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    # convert image from BGR to RGB
    to_rgb=True,
)
# The images of a batch as one tensor, which is copied and normalised at once. Workers of the
# validation stay; EpochSeedHook starts those of the training anew.
train_dataloader = dict(
    batch_size=32,
    num_workers=5,
    collate_fn=dict(type=default_collate),
    pin_memory=True,
    dataset=dict(
        type=ImageNet,
        data_root='data/imagenet',
        split='train',
        pipeline=[
            dict(type=LoadImageFromFile),
            dict(type=RandomResizedCrop, scale=224),
            dict(type=RandomFlip, prob=0.5, direction='horizontal'),
            dict(type=PackInputs),
        ],
    ),
    sampler=dict(type=DefaultSampler, shuffle=True),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=5,
    collate_fn=dict(type=default_collate),
    pin_memory=True,
    persistent_workers=True,
    dataset=dict(
        type=ImageNet,
        data_root='data/imagenet',
        split='val',
        pipeline=[
            dict(type=LoadImageFromFile),
            dict(type=ResizeEdge, scale=256, edge='short'),
            dict(type=CenterCrop, crop_size=224),
            dict(type=PackInputs),
        ],
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
)
val_evaluator = dict(type=Accuracy, topk=(1, 5))
test_dataloader = val_dataloader
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = dict(type=MultiStepLR, by_epoch=True, milestones=[30, 60, 90], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)
val_cfg = dict(type=FrozenTeacherValLoop)
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=256)

model = dict(
    type=SingleTeacherDistill,
    data_preprocessor=data_preprocessor,
    architecture=dict(
        type=ImageClassifier,
        backbone=dict(type=ResNet, depth=18),
        neck=dict(type=GlobalAveragePooling),
        head=dict(
            type=LinearClsHead,
            num_classes=1000,
            in_channels=512,
            loss=dict(type=CrossEntropyLoss),
        ),
    ),
    teacher=dict(
        type=ImageClassifier,
        backbone=dict(type=ResNet, depth=34),
        neck=dict(type=GlobalAveragePooling),
        head=dict(
            type=LinearClsHead,
            num_classes=1000,
            in_channels=512,
            loss=dict(type=CrossEntropyLoss),
        ),
    ),
    teacher_ckpt='https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth',
    distiller=dict(
        type=SKDDistiller,
        simplifier=dict(type=AttentionSimplifierConnector),
        # A name: mmrazor puts 'Recorder' behind it.
        student_recorders=dict(
            fc=dict(type='mmrazor.ModuleOutputs', source='head.fc'),
            gt_labels=dict(type='mmrazor.ModuleInputs', source='head.loss_module'),
        ),
        teacher_recorders=dict(fc=dict(type='mmrazor.ModuleOutputs', source='head.fc')),
    ),
)

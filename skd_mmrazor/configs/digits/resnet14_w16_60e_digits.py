"""The teacher on scikit-learn's handwritten digits: 8 x 8, one channel, ten classes."""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.optim import CosineAnnealingLR
from mmpretrain.datasets import PackInputs, RandomCrop, RandomGrayscale
from mmpretrain.evaluation import Accuracy
from mmpretrain.models import (
    ClsDataPreprocessor,
    CrossEntropyLoss,
    GlobalAveragePooling,
    ImageClassifier,
    LinearClsHead,
    ResNet_CIFAR,
)
from torch.optim import SGD

from skd_mmrazor.datasets import Digits

with read_base():
    from .._base_.default_runtime import *

data_preprocessor = dict(type=ClsDataPreprocessor, num_classes=10, mean=[78.4], std=[96.1])

model = dict(
    type=ImageClassifier,
    backbone=dict(
        type=ResNet_CIFAR,
        depth=18,
        in_channels=1,
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    neck=dict(type=GlobalAveragePooling),
    head=dict(type=LinearClsHead, num_classes=10, in_channels=64, loss=dict(type=CrossEntropyLoss)),
)

train_dataloader = dict(
    batch_size=32,
    # 898 = 28 * 32 + 2, and two images are too few for batch norm.
    drop_last=True,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type=Digits,
        split='train',
        pipeline=[dict(type=RandomCrop, crop_size=8, padding=1), dict(type=PackInputs)],
    ),
    sampler=dict(type=DefaultSampler, shuffle=True),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(type=Digits, split='val', pipeline=[dict(type=PackInputs)]),
    sampler=dict(type=DefaultSampler, shuffle=False),
)
val_evaluator = dict(type=Accuracy, topk=(1,))
# A picture in a file has three channels, which are equal here.
test_dataloader = dict(
    batch_size=256,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        type=Digits,
        split='val',
        pipeline=[
            dict(type=RandomGrayscale, prob=1.0, channel_weights=(1, 2, 1)),
            dict(type=PackInputs),
        ],
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
)
test_evaluator = val_evaluator

optim_wrapper = dict(
    optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
)
param_scheduler = dict(
    type=CosineAnnealingLR, T_max=60, end=60, by_epoch=True, convert_to_iter_based=True
)
train_cfg = dict(by_epoch=True, max_epochs=60, val_interval=1)
val_cfg = dict()
test_cfg = dict()

default_hooks.update(dict(logger=dict(interval=10), checkpoint=dict(interval=20, max_keep_ckpts=1)))
randomness.update(dict(seed=0))

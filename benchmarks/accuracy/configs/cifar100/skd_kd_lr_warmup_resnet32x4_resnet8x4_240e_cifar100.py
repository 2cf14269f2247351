_base_ = [
    '../../../../configs/cifar100/skd_kd_resnet32x4_resnet8x4_240e_cifar100.py',
    './_base_/lr_warmup.py',
]

param_scheduler = [_base_.lr_warmup, _base_.param_scheduler]

_base_ = [
    '../../../../configs/digits/kd_resnet14-w16_resnet10-w4_60e_digits.py',
    './_base_/lr_warmup.py',
]

param_scheduler = _base_.lr_warmup

_base_ = ['../../../../configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py']

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmrazor.FrozenTeacherHook', channels_last=True, dtype='bfloat16'),
]

# DeiT-B -> DeiT-T by KD, as ResNet-34 -> ResNet-18.
_base_ = [
    './_base_/datasets/imagenet_bs64_swin_224.py',
    './_base_/schedules/imagenet_bs1024_adamw_deit.py',
    './_base_/default_runtime.py',
    './_base_/models/deit-base_deit-tiny_imagenet.py',
    './_base_/losses/kd_imagenet.py',
]

model = dict(distiller=_base_.kd)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

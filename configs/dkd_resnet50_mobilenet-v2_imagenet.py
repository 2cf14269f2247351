# ResNet-50 -> MobileNetV2 by DKD, as ResNet-34 -> ResNet-18. The literature has MobileNetV1,
# in imagenet/; never set this one beside it.
_base_ = [
    './_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256_epochstep.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet50_mobilenet-v2_imagenet.py',
    './_base_/losses/dkd_imagenet.py',
]

model = dict(distiller=_base_.dkd)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

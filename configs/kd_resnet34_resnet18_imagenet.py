# KD with mmrazor's weights; the literature's are in imagenet/.
_base_ = [
    './_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
    './_base_/losses/kd_imagenet.py',
]

model = dict(distiller=_base_.kd)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

# The settings of mmrazor's config for Cityscapes.
_base_ = [
    'mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py',
    '../_base_/losses/cwd_segmentation.py',
]

student = _base_.model
student._scope_ = 'mmseg'
# The ResNet-18 of mmsegmentation's config for Cityscapes.
student.pretrained = 'open-mmlab://resnet18_v1c'
student.backbone.depth = 18
student.decode_head.update(in_channels=512, channels=128)
student.auxiliary_head.update(in_channels=256, channels=64)

model = dict(
    _scope_='mmrazor',
    _delete_=True,
    type='SingleTeacherDistill',
    architecture=student,
    teacher=dict(
        cfg_path='mmseg::pspnet/pspnet_r101-d8_4xb4-80k_ade20k-512x512.py', pretrained=False
    ),
    teacher_ckpt='https://download.openmmlab.com/mmsegmentation/v0.5/pspnet/pspnet_r101-d8_512x512_80k_ade20k/pspnet_r101-d8_512x512_80k_ade20k_20200614_031423-b6e782f0.pth',
    distiller=dict(_base_.cwd, type='ConfigurableDistiller'),
)

find_unused_parameters = True
val_cfg = dict(_delete_=True, type='mmrazor.SingleTeacherDistillValLoop')

"""CWD of the logits, by mmrazor's settings; the student is a quarter as wide."""

_base_ = [
    './pspnet_r18-w32_shapes.py',
    '../../../configs/_base_/losses/cwd_segmentation.py',
]

teacher = _base_.model
model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=dict(
        teacher,
        backbone=dict(teacher.backbone, base_channels=8, stem_channels=8),
        decode_head=dict(teacher.decode_head, in_channels=64, channels=16),
        auxiliary_head=dict(teacher.auxiliary_head, in_channels=32, channels=8),
    ),
    teacher=teacher,
    teacher_ckpt='work_dirs/pspnet_r18-w32_shapes/iter_800.pth',
    distiller=dict(_base_.cwd, type='ConfigurableDistiller'),
)
val_cfg = dict(_delete_=True, type='mmrazor.FrozenTeacherValLoop')

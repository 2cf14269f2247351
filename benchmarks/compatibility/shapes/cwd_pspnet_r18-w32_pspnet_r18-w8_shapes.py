"""CWD of the logits, by mmrazor's settings; the student is a quarter as wide."""

_base_ = ['./pspnet_r18-w32_shapes.py']

teacher = _base_.model
conv_seg = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
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
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=conv_seg,
        teacher_recorders=conv_seg,
        distill_losses=dict(loss_cwd=dict(type='ChannelWiseDivergence', tau=1, loss_weight=5)),
        loss_forward_mappings=dict(
            loss_cwd=dict(
                preds_S=dict(from_student=True, recorder='logits'),
                preds_T=dict(from_student=False, recorder='logits'),
            )
        ),
    ),
)
val_cfg = dict(_delete_=True, type='mmrazor.FrozenTeacherValLoop')

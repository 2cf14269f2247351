_base_ = [
    '../_base_/models/resnet14-w16_resnet10-w4_digits.py',
    '../_base_/datasets/digits_bs32.py',
    '../_base_/schedules/digits_60e.py',
]

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=_base_.student,
    teacher=_base_.teacher,
    teacher_ckpt='work_dirs/resnet14-w16_60e_digits/epoch_60.pth',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=4, loss_weight=1)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            )
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

# Beside KD, whose target is what SKD simplifies.
_base_ = ['./kd.py']

features = dict(
    preds_S=dict(from_student=True, recorder='gap'),
    preds_T=dict(from_student=False, recorder='gap'),
)
model = dict(
    distiller=dict(
        student_recorders=dict(gap=dict(type='ModuleOutputs', source='neck.gap')),
        teacher_recorders=dict(gap=dict(type='ModuleOutputs', source='neck.gap')),
        distill_losses=dict(
            loss_distance=dict(type='DistanceWiseRKD', loss_weight=_base_.rkd, with_l2_norm=False),
            loss_angle=dict(type='AngleWiseRKD', loss_weight=2 * _base_.rkd, with_l2_norm=False),
        ),
        loss_forward_mappings=dict(loss_distance=features, loss_angle=features),
    )
)

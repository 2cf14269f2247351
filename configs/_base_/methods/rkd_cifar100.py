# Relational knowledge distillation (https://arxiv.org/abs/1904.05068) of the pooled features:
# distances with a weight of 25, angles with 50.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(neck=dict(type='ModuleOutputs', source='neck.gap')),
        teacher_recorders=dict(neck=dict(type='ModuleOutputs', source='neck.gap')),
        distill_losses=dict(
            loss_distance=dict(type='DistanceWiseRKD', loss_weight=25.0, with_l2_norm=False),
            loss_angle=dict(type='AngleWiseRKD', loss_weight=50.0, with_l2_norm=False),
        ),
        loss_forward_mappings=dict(
            loss_distance=dict(
                preds_S=dict(from_student=True, recorder='neck'),
                preds_T=dict(from_student=False, recorder='neck'),
            ),
            loss_angle=dict(
                preds_S=dict(from_student=True, recorder='neck'),
                preds_T=dict(from_student=False, recorder='neck'),
            ),
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

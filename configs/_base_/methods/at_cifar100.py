# Attention transfer (https://arxiv.org/abs/1612.03928) of the three stages, each with a
# weight of 1000.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            stage1=dict(type='ModuleOutputs', source='backbone.layer1'),
            stage2=dict(type='ModuleOutputs', source='backbone.layer2'),
            stage3=dict(type='ModuleOutputs', source='backbone.layer3'),
        ),
        teacher_recorders=dict(
            stage1=dict(type='ModuleOutputs', source='backbone.layer1'),
            stage2=dict(type='ModuleOutputs', source='backbone.layer2'),
            stage3=dict(type='ModuleOutputs', source='backbone.layer3'),
        ),
        distill_losses=dict(
            loss_stage1=dict(type='ATLoss', loss_weight=1000.0),
            loss_stage2=dict(type='ATLoss', loss_weight=1000.0),
            loss_stage3=dict(type='ATLoss', loss_weight=1000.0),
        ),
        loss_forward_mappings=dict(
            loss_stage1=dict(
                s_feature=dict(from_student=True, recorder='stage1'),
                t_feature=dict(from_student=False, recorder='stage1'),
            ),
            loss_stage2=dict(
                s_feature=dict(from_student=True, recorder='stage2'),
                t_feature=dict(from_student=False, recorder='stage2'),
            ),
            loss_stage3=dict(
                s_feature=dict(from_student=True, recorder='stage3'),
                t_feature=dict(from_student=False, recorder='stage3'),
            ),
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

# A comprehensive overhaul of feature distillation (https://arxiv.org/abs/1904.01866): the
# stages of ResNet-8x4 before their last ReLU, against those of ResNet-32x4. In both reference
# codes the teacher is in training mode: it normalises by the batch, and its statistics move.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

model = dict(
    _scope_='mmrazor',
    type='OverhaulFeatureDistillation',
    teacher_norm_eval=False,
    distiller=dict(
        type='OFDDistiller',
        student_recorders=dict(
            stage1=dict(type='ModuleOutputs', source='backbone.layer1.0.bn2'),
            stage2=dict(type='ModuleOutputs', source='backbone.layer2.0.bn2'),
            stage3=dict(type='ModuleOutputs', source='backbone.layer3.0.bn2'),
        ),
        teacher_recorders=dict(
            stage1=dict(type='ModuleOutputs', source='backbone.layer1.4.bn2'),
            stage2=dict(type='ModuleOutputs', source='backbone.layer2.4.bn2'),
            stage3=dict(type='ModuleOutputs', source='backbone.layer3.4.bn2'),
        ),
        connectors=dict(
            student1=dict(
                type='ConvModuleConnector',
                in_channel=64,
                out_channel=64,
                norm_cfg=dict(type='BN'),
                act_cfg=None,
            ),
            teacher1=dict(type='OFDTeacherConnector'),
            student2=dict(
                type='ConvModuleConnector',
                in_channel=128,
                out_channel=128,
                norm_cfg=dict(type='BN'),
                act_cfg=None,
            ),
            teacher2=dict(type='OFDTeacherConnector'),
            student3=dict(
                type='ConvModuleConnector',
                in_channel=256,
                out_channel=256,
                norm_cfg=dict(type='BN'),
                act_cfg=None,
            ),
            teacher3=dict(type='OFDTeacherConnector'),
        ),
        distill_losses=dict(
            loss_stage1=dict(type='OFDLoss', loss_weight=0.25),
            loss_stage2=dict(type='OFDLoss', loss_weight=0.5),
            loss_stage3=dict(type='OFDLoss', loss_weight=1.0),
        ),
        loss_forward_mappings=dict(
            loss_stage1=dict(
                s_feature=dict(from_student=True, recorder='stage1', connector='student1'),
                t_feature=dict(from_student=False, recorder='stage1', connector='teacher1'),
            ),
            loss_stage2=dict(
                s_feature=dict(from_student=True, recorder='stage2', connector='student2'),
                t_feature=dict(from_student=False, recorder='stage2', connector='teacher2'),
            ),
            loss_stage3=dict(
                s_feature=dict(from_student=True, recorder='stage3', connector='student3'),
                t_feature=dict(from_student=False, recorder='stage3', connector='teacher3'),
            ),
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop', evaluate_teacher='never')

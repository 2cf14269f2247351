# Attention transfer from the last two stages.
_base_ = [
    './_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
]

model = dict(
    distiller=dict(
        student_recorders=dict(
            bb_s3=dict(type='ModuleOutputs', source='backbone.layer3'),
            bb_s4=dict(type='ModuleOutputs', source='backbone.layer4'),
        ),
        teacher_recorders=dict(
            bb_s3=dict(type='ModuleOutputs', source='backbone.layer3'),
            bb_s4=dict(type='ModuleOutputs', source='backbone.layer4'),
        ),
        distill_losses=dict(
            loss_s3=dict(type='ATLoss', loss_weight=1000.0),
            loss_s4=dict(type='ATLoss', loss_weight=1000.0),
        ),
        loss_forward_mappings=dict(
            loss_s3=dict(
                s_feature=dict(from_student=True, recorder='bb_s3'),
                t_feature=dict(from_student=False, recorder='bb_s3'),
            ),
            loss_s4=dict(
                s_feature=dict(from_student=True, recorder='bb_s4'),
                t_feature=dict(from_student=False, recorder='bb_s4'),
            ),
        ),
    )
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

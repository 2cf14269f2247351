# Beside KD, whose target is what SKD simplifies. The first two stages are of one size in both.
_base_ = ['./kd.py']

recorders = dict(
    stage1=dict(type='ModuleOutputs', source='backbone.layer1'),
    stage2=dict(type='ModuleOutputs', source='backbone.layer2'),
)
model = dict(
    distiller=dict(
        student_recorders=recorders,
        teacher_recorders=recorders,
        distill_losses=dict(
            loss_stage1=dict(type='ATLoss', loss_weight=_base_.at),
            loss_stage2=dict(type='ATLoss', loss_weight=_base_.at),
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
        ),
    )
)

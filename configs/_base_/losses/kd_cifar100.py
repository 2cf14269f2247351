# KD beside another method, for ``distiller=_base_.kd``: the divergence at a temperature of 4 with
# a weight of 1, RepDistiller's third term, which SKD too adds where no loss takes logits.
kd = dict(
    student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
    teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
    distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=4)),
    loss_forward_mappings=dict(
        loss_kl=dict(
            preds_S=dict(from_student=True, recorder='fc'),
            preds_T=dict(from_student=False, recorder='fc'),
        )
    ),
)

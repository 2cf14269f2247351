_base_ = ['./kd.py']

model = dict(
    distiller=dict(
        student_recorders=dict(gt_labels=dict(type='ModuleInputs', source='head.loss_module')),
        distill_losses=dict(_delete_=True, loss_dkd=dict(type='LogSpaceDKDLoss', **_base_.dkd)),
        loss_forward_mappings=dict(
            _delete_=True,
            loss_dkd=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            ),
        ),
    )
)

_base_ = ['./kd_resnet14-w16_resnet10-w4_60e_digits.py']

model = dict(
    distiller=dict(
        student_recorders=dict(gt_labels=dict(type='ModuleInputs', source='head.loss_module')),
        distill_losses=dict(
            _delete_=True, loss_dkd=dict(type='LogSpaceDKDLoss', tau=4, alpha=1, beta=2)
        ),
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

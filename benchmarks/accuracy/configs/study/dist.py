_base_ = ['./kd.py']

model = dict(
    distiller=dict(
        distill_losses=dict(_delete_=True, loss_dist=dict(type='DISTLoss', **_base_.dist)),
        loss_forward_mappings=dict(
            _delete_=True,
            loss_dist=dict(
                logits_S=dict(from_student=True, recorder='fc'),
                logits_T=dict(from_student=False, recorder='fc'),
            ),
        ),
    )
)

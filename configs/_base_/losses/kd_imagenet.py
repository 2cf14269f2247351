# KD with mmrazor's ImageNet setting (tau 1, weight 3), for ``distiller=_base_.kd``.
kd = dict(
    distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=1, loss_weight=3)),
    loss_forward_mappings=dict(
        loss_kl=dict(
            preds_S=dict(from_student=True, recorder='fc'),
            preds_T=dict(from_student=False, recorder='fc'),
        )
    ),
)

# KD with mmrazor's ImageNet setting (tau 1, weight 3).
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
]

model = dict(
    distiller=dict(
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=1, loss_weight=3)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            )
        ),
    )
)

val_cfg = dict(type='mmrazor.SingleTeacherDistillValLoop')

# DIST with mmrazor's ImageNet setting.
_base_ = [
    './_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
]

model = dict(
    distiller=dict(
        distill_losses=dict(
            loss_dist=dict(
                type='DISTLoss', inter_loss_weight=1.0, intra_loss_weight=1.0, tau=1, loss_weight=2
            )
        ),
        loss_forward_mappings=dict(
            loss_dist=dict(
                logits_S=dict(from_student=True, recorder='fc'),
                logits_T=dict(from_student=False, recorder='fc'),
            )
        ),
    )
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

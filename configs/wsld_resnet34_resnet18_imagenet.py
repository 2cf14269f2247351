# WSLD with mmrazor's ImageNet setting.
_base_ = [
    './_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
]

model = dict(
    distiller=dict(
        distill_losses=dict(loss_wsld=dict(type='WSLD', tau=2, loss_weight=2.5)),
        loss_forward_mappings=dict(
            loss_wsld=dict(
                student=dict(from_student=True, recorder='fc'),
                teacher=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            )
        ),
    )
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

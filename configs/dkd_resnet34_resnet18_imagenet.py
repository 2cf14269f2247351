# DKD with its ImageNet setting: alpha 1, beta 0.5, T 1, divided by the batch.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet34_resnet18_imagenet.py',
]

model = dict(
    distiller=dict(
        distill_losses=dict(loss_dkd=dict(type='LogSpaceDKDLoss', tau=1, alpha=1, beta=0.5)),
        loss_forward_mappings=dict(
            loss_dkd=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            )
        ),
    )
)

val_cfg = dict(type='mmrazor.SingleTeacherDistillValLoop')

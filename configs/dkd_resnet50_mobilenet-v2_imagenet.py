# ResNet-50 -> MobileNetV2 by DKD, as ResNet-34 -> ResNet-18.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256_epochstep.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet50_mobilenet-v2_imagenet.py',
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

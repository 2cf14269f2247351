# ResNet-50 -> MobileNetV2 by KD, as ResNet-34 -> ResNet-18.
_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs32.py',
    'mmpretrain::_base_/schedules/imagenet_bs256_epochstep.py',
    './_base_/default_runtime.py',
    './_base_/models/resnet50_mobilenet-v2_imagenet.py',
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

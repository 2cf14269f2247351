# Knowledge distillation (https://arxiv.org/abs/1503.02531) as the literature sets it on ImageNet:
# half of the cross-entropy, half of the divergence at a temperature of 1.
_base_ = [
    '../models/imagenet_networks.py',
    '../datasets/imagenet_pillow_bs64.py',
    '../schedules/imagenet_bs512_100e.py',
    '../default_runtime.py',
]

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    architecture=dict(head=dict(loss=dict(loss_weight=0.5))),
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_kl=dict(type='KLDivergence', tau=1, loss_weight=0.5)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            )
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

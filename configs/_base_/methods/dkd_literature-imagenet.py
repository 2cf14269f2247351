# Decoupled knowledge distillation (https://arxiv.org/abs/2203.08679) as its authors set it on
# ImageNet: alpha 1, T 1, beta by the pair of networks. Their warm-up of one epoch has no effect,
# since the weight, min(epoch / 1, 1), is 1 from the first epoch.
_base_ = [
    '../models/imagenet_networks.py',
    '../datasets/imagenet_pillow_bs64.py',
    '../schedules/imagenet_bs512_100e.py',
    '../default_runtime.py',
]

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            fc=dict(type='ModuleOutputs', source='head.fc'),
            gt_labels=dict(type='ModuleInputs', source='head.loss_module'),
        ),
        teacher_recorders=dict(fc=dict(type='ModuleOutputs', source='head.fc')),
        distill_losses=dict(loss_dkd=dict(type='LogSpaceDKDLoss', tau=1, alpha=1, beta=0.5)),
        loss_forward_mappings=dict(
            loss_dkd=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            )
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

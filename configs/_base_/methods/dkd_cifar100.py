# Decoupled knowledge distillation (https://arxiv.org/abs/2203.08679): alpha 1, T 4, beta
# by the pair of networks, and a linear warm-up over the first twelfth of the run.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

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
        distill_losses=dict(loss_dkd=dict(type='LogSpaceDKDLoss', tau=4, alpha=1, beta=8)),
        loss_forward_mappings=dict(
            loss_dkd=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            )
        ),
    ),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='mmrazor.LossWeightWarmupHook', loss='loss_dkd', epochs=max(_base_.epochs // 12, 1)),
]

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

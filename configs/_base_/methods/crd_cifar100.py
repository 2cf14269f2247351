# Contrastive representation distillation (https://arxiv.org/abs/1910.10699) of the pooled
# features, with a weight of 0.8.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            neck=dict(type='ModuleOutputs', source='neck.gap'),
            data_samples=dict(type='ModuleInputs', source=''),
        ),
        teacher_recorders=dict(neck=dict(type='ModuleOutputs', source='neck.gap')),
        connectors=dict(
            student=dict(type='CRDConnector', dim_in=256, dim_out=128),
            teacher=dict(type='CRDConnector', dim_in=256, dim_out=128),
        ),
        distill_losses=dict(loss_crd=dict(type='WeightedCRDLoss', loss_weight=0.8)),
        loss_forward_mappings=dict(
            loss_crd=dict(
                s_feats=dict(from_student=True, recorder='neck', connector='student'),
                t_feats=dict(from_student=False, recorder='neck', connector='teacher'),
                data_samples=dict(from_student=True, recorder='data_samples', data_idx=1),
            )
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

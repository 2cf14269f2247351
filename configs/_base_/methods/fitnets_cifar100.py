# FitNets (https://arxiv.org/abs/1412.6550): the second stage of ResNet-8x4 against that of
# ResNet-32x4, mean squared error with a weight of 100.
_base_ = ['../models/cifar100_networks.py', '../schedules/cifar100_240e.py']

model = dict(
    _scope_='mmrazor',
    type='SingleTeacherDistill',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(hint=dict(type='ModuleOutputs', source='backbone.layer2')),
        teacher_recorders=dict(hint=dict(type='ModuleOutputs', source='backbone.layer2')),
        connectors=dict(regressor=dict(type='FitNetsConnector', in_channel=128, out_channel=128)),
        distill_losses=dict(
            loss_hint=dict(type='L2Loss', normalize=False, div_element=True, loss_weight=100)
        ),
        loss_forward_mappings=dict(
            loss_hint=dict(
                s_feature=dict(from_student=True, recorder='hint', connector='regressor'),
                t_feature=dict(from_student=False, recorder='hint'),
            )
        ),
    ),
)

val_cfg = dict(type='mmrazor.FrozenTeacherValLoop')

_base_ = ['../_base_/methods/dkd_literature-imagenet.py']

model = dict(
    architecture=_base_.mobilenetv1,
    teacher=_base_.resnet50,
    distiller=dict(distill_losses=dict(loss_dkd=dict(beta=2))),
)

_base_ = ['../_base_/methods/dkd_literature-imagenet.py']

model = dict(
    architecture=_base_.resnet18,
    teacher=_base_.resnet34,
    distiller=dict(distill_losses=dict(loss_dkd=dict(beta=0.5))),
)

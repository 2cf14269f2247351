_base_ = ['../_base_/methods/kd_literature-imagenet.py']

model = dict(architecture=_base_.resnet18, teacher=_base_.resnet34)

_base_ = ['../_base_/methods/kd_literature-imagenet.py']

model = dict(architecture=_base_.mobilenetv1, teacher=_base_.resnet50)

_base_ = ['mmrazor::distill/mmcls/ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    distiller=dict(
        type='SKDOFDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip

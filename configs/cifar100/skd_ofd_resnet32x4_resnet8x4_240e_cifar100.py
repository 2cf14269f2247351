_base_ = ['./ofd_resnet32x4_resnet8x4_240e_cifar100.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    distiller=dict(
        type='SKDOFDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip

_base_ = ['mmrazor::distill/mmcls/crd/crd_neck_r50_r18_8xb16_cifar10.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip

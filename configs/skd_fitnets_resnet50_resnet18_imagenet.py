_base_ = ['mmrazor::distill/mmcls/fitnets/fitnets_backbone_logits_resnet50_resnet18_8xb32_in1k.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip

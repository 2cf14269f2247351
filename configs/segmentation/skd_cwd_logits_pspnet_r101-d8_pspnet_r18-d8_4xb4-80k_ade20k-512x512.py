_base_ = ['./cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb4-80k_ade20k-512x512.py']

custom_imports = dict(imports=['skd_mmrazor'], allow_failed_imports=False)
model = dict(
    distiller=dict(
        type='SKDDistiller',
        simplifier=dict(type='AttentionSimplifierConnector')))  # fmt: skip

"""SKD + CWD."""

_base_ = ['./cwd_pspnet_r18-w32_pspnet_r18-w8_shapes.py']

model = dict(
    distiller=dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
)

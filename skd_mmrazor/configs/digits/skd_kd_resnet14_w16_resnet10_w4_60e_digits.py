"""SKD beside knowledge distillation on the digits."""

from mmengine.config import read_base

from skd_mmrazor.models import AttentionSimplifierConnector, SKDDistiller

with read_base():
    from .kd_resnet14_w16_resnet10_w4_60e_digits import *

model['distiller'].update(
    dict(type=SKDDistiller, simplifier=dict(type=AttentionSimplifierConnector))
)

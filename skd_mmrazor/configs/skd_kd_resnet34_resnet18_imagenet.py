"""SKD beside knowledge distillation with mmrazor's ImageNet setting."""

from mmengine.config import read_base
from mmrazor.models import KLDivergence

with read_base():
    from ._base_.resnet34_resnet18_imagenet import *

model['distiller'].update(
    dict(
        distill_losses=dict(loss_kl=dict(type=KLDivergence, tau=1, loss_weight=3)),
        loss_forward_mappings=dict(
            loss_kl=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
            )
        ),
    )
)

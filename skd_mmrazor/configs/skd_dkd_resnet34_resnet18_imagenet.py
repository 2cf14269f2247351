"""SKD beside DKD with its ImageNet setting: alpha 1, beta 0.5, T 1."""

from mmengine.config import read_base

from skd_mmrazor.models import LogSpaceDKDLoss

with read_base():
    from ._base_.resnet34_resnet18_imagenet import *

model['distiller'].update(
    dict(
        distill_losses=dict(loss_dkd=dict(type=LogSpaceDKDLoss, tau=1, alpha=1, beta=0.5)),
        loss_forward_mappings=dict(
            loss_dkd=dict(
                preds_S=dict(from_student=True, recorder='fc'),
                preds_T=dict(from_student=False, recorder='fc'),
                gt_labels=dict(from_student=True, recorder='gt_labels', data_idx=1),
            )
        ),
    )
)

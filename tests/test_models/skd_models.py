"""Classifiers that are distilled with SKD by each of the logit losses."""

import copy

from mmengine.optim import build_optim_wrapper
from mmrazor.registry import MODELS

from ..conftest import algorithm, batch, distiller

LOGIT_LOSSES = {
    'KLDivergence': dict(type='KLDivergence', tau=4),
    'LogSpaceKLDivergence': dict(type='LogSpaceKLDivergence', tau=4),
    'DKDLoss': dict(type='DKDLoss', tau=4, beta=2.0),
    'LogSpaceDKDLoss': dict(type='LogSpaceDKDLoss', tau=4, beta=2.0),
    'DISTLoss': dict(type='DISTLoss', tau=4),
    'KDSoftCELoss': dict(type='KDSoftCELoss', tau=4),
    'WSLD': dict(type='WSLD', tau=4, num_classes=10),
}


def build(losses, skd=True, algorithm_arguments=None, **distiller_arguments):
    cfg = algorithm(distiller(losses, skd, **distiller_arguments), **(algorithm_arguments or {}))
    return MODELS.build(copy.deepcopy(cfg))


def simplifier(**arguments):
    return dict(type='AttentionSimplifierConnector', **arguments)


def total(losses):
    return sum(value for key, value in losses.items() if 'loss' in key)


def train(model, steps, **optimizer):
    """Steps of the optimizer that mmengine builds; returns the last losses."""
    model.train()
    cfg = dict(optimizer=dict(type='SGD', lr=0.1, **optimizer))
    optim_wrapper = build_optim_wrapper(model, cfg)
    for _ in range(steps):
        losses = model(*batch(), mode='loss')
        optim_wrapper.update_params(total(losses))
    return losses

"""Losses with a finite gradient to the teacher's logits, and CRD with its ``loss_weight``."""

from .log_space_binary_kl_divergence import LogSpaceBinaryKLDivergence
from .log_space_dkd_loss import LogSpaceDKDLoss
from .log_space_kl_divergence import LogSpaceKLDivergence
from .weighted_crd_loss import WeightedCRDLoss

__all__ = [
    'LogSpaceBinaryKLDivergence',
    'LogSpaceDKDLoss',
    'LogSpaceKLDivergence',
    'WeightedCRDLoss',
]

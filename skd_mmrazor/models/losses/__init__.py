"""Losses that pass a finite gradient to the teacher's side, and CRD's with its weight."""

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

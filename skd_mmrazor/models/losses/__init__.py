"""Losses that pass a finite gradient to the teacher's side."""

from .log_space_dkd_loss import LogSpaceDKDLoss
from .log_space_kl_divergence import LogSpaceKLDivergence

__all__ = ['LogSpaceDKDLoss', 'LogSpaceKLDivergence']

"""Helpers for running a frozen teacher."""

from .batch_norm_folding import fold_batch_norm
from .frozen_teacher import HALF_TOLERANCE, TOLERANCE, FrozenTeacher, difference

__all__ = ['HALF_TOLERANCE', 'TOLERANCE', 'FrozenTeacher', 'difference', 'fold_batch_norm']

"""Helpers for running a frozen teacher."""

from .batch_norm_folding import fold_batch_norm
from .frozen_teacher import FrozenTeacher, difference

__all__ = ['FrozenTeacher', 'difference', 'fold_batch_norm']

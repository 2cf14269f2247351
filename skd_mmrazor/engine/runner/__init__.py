"""Loops of the runner."""

from .frozen_teacher_val_loop import FrozenTeacherValLoop
from .store_teacher_loop import StoreTeacherLoop

__all__ = ['FrozenTeacherValLoop', 'StoreTeacherLoop']

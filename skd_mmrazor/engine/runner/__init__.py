"""Loops of the runner."""

from .frozen_teacher_val_loop import FrozenTeacherValLoop

__all__ = ['FrozenTeacherValLoop']

"""Hooks and loops of the runner, laid out as in ``mmrazor.engine``."""

from .hooks import *  # noqa: F403
from .hooks import __all__ as _hooks
from .runner import FrozenTeacherValLoop, StoreTeacherLoop

__all__ = [*_hooks, 'FrozenTeacherValLoop', 'StoreTeacherLoop']

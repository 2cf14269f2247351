"""Pictures of what the simplifier does."""

from .simplification import draw_simplification

__all__ = ['draw_simplification']

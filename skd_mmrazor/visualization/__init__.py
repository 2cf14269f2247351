"""Pictures of what the simplifier does."""

from .maps import draw_simplified_maps
from .simplification import draw_simplification

__all__ = ['draw_simplification', 'draw_simplified_maps']

"""Small data sets that come with the installed packages."""

from .digits import Digits
from .glyph100 import Glyph100

__all__ = ['Digits', 'Glyph100']

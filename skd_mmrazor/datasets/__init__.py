"""Small data sets that come with the installed packages, and small data made fast."""

from .digits import Digits
from .glyph100 import Glyph100
from .in_memory_dataset import InMemoryDataset

__all__ = ['Digits', 'Glyph100', 'InMemoryDataset']

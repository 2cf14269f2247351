"""Small data sets that come with the installed packages."""

from .digits import Digits

__all__ = ['Digits']

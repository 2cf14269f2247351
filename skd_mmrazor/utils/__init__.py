"""Helpers that are about neither tensors nor configs."""

from .checks import expect, is_integer, is_number, naming

__all__ = ['expect', 'is_integer', 'is_number', 'naming']

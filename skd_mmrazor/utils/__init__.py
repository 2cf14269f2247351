"""Checks of config values, whose messages have one form."""

from .checks import error_context, expect, is_integer, is_number

__all__ = ['error_context', 'expect', 'is_integer', 'is_number']

"""One form for every complaint about a value of a config."""

from .checks import expect, is_integer, is_number, naming

__all__ = ['expect', 'is_integer', 'is_number', 'naming']

"""One form for every complaint about a config value."""

from typing import Any


def expect(condition: bool, key: str, value: Any, expected: str) -> None:
    """Raises a ValueError that names the key, the value and what was expected.

    Args:
        condition (bool): Whether the value will do.
        key (str): Where the value stands in the config.
        value (Any): The value found.
        expected (str): What would have been accepted.
    """
    if not condition:
        raise ValueError(f'{key}={value!r}, expected {expected}.')


def is_integer(value: Any, minimum: int) -> bool:
    """Whether a value is an int, not a bool, and no less than ``minimum``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float, not a bool, and finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) < float('inf')

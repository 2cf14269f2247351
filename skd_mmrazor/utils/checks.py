"""One form for every complaint about a config value."""

import contextlib
import sys
from collections.abc import Iterator
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


@contextlib.contextmanager
def naming(key: str, value: Any, expected: str) -> Iterator[None]:
    """Makes errors of other libraries name the config key that they are about.

    A TypeError stays one, all other errors become a ValueError: both can be
    made from one string, as mmengine's registry may do.

    Args:
        key (str): Where the value stands in the config.
        value (Any): The value found.
        expected (str): What would have been accepted.
    """
    try:
        yield
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        reason = f'{type(error).__name__}: {" ".join(str(error).split())}'
        raise kind(f'{key}={value!r}, expected {expected}. {reason}') from error


def is_integer(value: Any, minimum: int) -> bool:
    """Whether a value is an int, not a bool, and no less than ``minimum``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def is_number(value: Any) -> bool:
    """Whether a value is an int or a float, not a bool, and finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= sys.float_info.max

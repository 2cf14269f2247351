"""One form for all errors about config values."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any


def expect(condition: bool, key: str, value: Any, expected: str) -> None:
    """Raises a ValueError that names the key, the value and what was expected.

    Args:
        condition (bool): Whether the value is accepted.
        key (str): Where the value stands in the config.
        value (Any): The value found.
        expected (str): What is accepted.
    """
    if not condition:
        raise ValueError(f'{key}={value!r}, expected {expected}.')


@contextlib.contextmanager
def error_context(key: str, value: Any, expected: str) -> Iterator[None]:
    """Adds the config key to errors of other libraries.

    A TypeError stays one, all other errors become a ValueError: mmengine's registry
    constructs an error again from its message, which these two types allow.

    Args:
        key (str): Where the value stands in the config.
        value (Any): The value found.
        expected (str): What is accepted.
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

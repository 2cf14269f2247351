"""Algorithms with a simplifier, whose config mmrazor does not read whole."""

import functools
from collections.abc import Callable
from typing import Any

from .patches import repairs

ALGORITHMS = ('SingleTeacherDistill', 'SelfDistill')


def check_if(has_simplifier: bool, original: Callable) -> Callable:
    """A constructor that checks what it has built, with SKD or without."""

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        from ..models.utils.algorithm_checks import check_algorithm

        architecture = kwargs.get('architecture')
        from_zoo = isinstance(architecture, dict) and 'cfg_path' in architecture
        original(self, *args, **kwargs)
        if hasattr(self.distiller, 'simplifier') == has_simplifier:
            check_algorithm(self, from_zoo)

    return init


@repairs.replacing(
    *(f'mmrazor.models.{name}.__init__' for name in ALGORITHMS),
    reason="of a teacher beside a simplifier its own `data_preprocessor`, and the student's "
    'beside the one of the algorithm, are ignored without a word. Algorithms without SKD are '
    'left alone',
)
def check_with_skd(original: Callable) -> Callable:
    """Honours or refuses what would be ignored, of an algorithm with a simplifier."""
    return check_if(True, original)

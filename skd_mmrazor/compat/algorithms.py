"""Settings of an algorithm with a simplifier that mmrazor silently ignores."""

import functools
from collections.abc import Callable
from typing import Any

from .patches import repairs

ALGORITHMS = ('SingleTeacherDistill', 'SelfDistill')


def check_if(has_simplifier: bool, original: Callable) -> Callable:
    """Makes a constructor that checks the algorithms with, or those without, a simplifier."""

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
    reason="with SKD, the teacher's own `data_preprocessor` and the student's are silently "
    'ignored. Algorithms without SKD are left alone',
)
def check_with_skd(original: Callable) -> Callable:
    """Applies or refuses the ignored settings of an algorithm with a simplifier."""
    return check_if(True, original)

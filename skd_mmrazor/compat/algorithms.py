"""Settings of an algorithm with a simplifier that mmrazor silently ignores."""

from collections.abc import Callable
from typing import Any

from .patches import repairs

ALGORITHMS = ('SingleTeacherDistill', 'SelfDistill')


def check_if(
    has_simplifier: bool, original: Callable, self: Any, *args: Any, **kwargs: Any
) -> None:
    """Constructs an algorithm, and checks it if it has a simplifier, or if it has none."""
    from ..models.utils.algorithm_checks import check_algorithm

    architecture = kwargs.get('architecture')
    from_zoo = isinstance(architecture, dict) and 'cfg_path' in architecture
    original(self, *args, **kwargs)
    if hasattr(self.distiller, 'simplifier') == has_simplifier:
        check_algorithm(self, from_zoo)


@repairs.wrapping(
    *(f'mmrazor.models.{name}.__init__' for name in ALGORITHMS),
)
def check_with_skd(*call: Any, **arguments: Any) -> None:
    """Applies or refuses the ignored settings of an algorithm with a simplifier.

    Why: with SKD, the teacher's own `data_preprocessor` and the student's are silently ignored.
    Algorithms without SKD are left alone.
    """
    check_if(True, *call, **arguments)

"""Checks that make training stricter and safer: importing this switches them on.

By one line of Python, ``import skd_mmrazor.safeguards``, or in a config::

    custom_imports = dict(
        imports=['skd_mmrazor', 'skd_mmrazor.safeguards'], allow_failed_imports=False
    )

The tools of this project do so. The checks are of mmengine's runner, so they act
on every run of the process, and stay on.
"""

from ..compat.patches import safeguards
from . import (  # noqa: F401  (each declares its own)
    algorithms,
    annotations,
    checkpoint_fitting,
    checkpoint_reading,
    checkpoint_writing,
    old_configs,
    resuming,
    validation,
)
from .checkpoint_reading import reading
from .loaded_tensors import get_weights, load_exactly, load_whole

__all__ = ['get_weights', 'load_exactly', 'load_whole', 'reading']

safeguards.apply()

"""Repairs of mmrazor 1.0.0 and its dependencies, made when the package is imported.

Each repairs what cannot run at all on the installed packages, does nothing where
it is not needed, and changes nothing that works. ``python -m skd_mmrazor`` lists
them, ``docs/importing.md`` explains them.
"""

import importlib

from .patches import Patch, Patches, repairs
from .versions import check_versions

__all__ = ['Patch', 'Patches', 'apply', 'check_versions', 'repairs']

# In this order: mmrazor needs the name mmcls, what comes after needs mmrazor.
_MODULES = (
    'package_metadata',
    'checkpoints',
    'cpu_processes',
    'mmcls',
    'quantization',
    'deit',
    'data_free',
    'algorithms',
    'wrapped_classifiers',
)


def apply() -> None:
    """Makes the installed packages work together, or says why they cannot.

    Raises:
        ImportError: A package is missing or its version cannot work.
    """
    check_versions()
    # These import the packages that have just been checked.
    for name in _MODULES:
        importlib.import_module(f'{__name__}.{name}')
    repairs.apply()

"""mmengine's checkpoints under ``torch.load(weights_only=True)``.

Since torch 2.6 a checkpoint may hold tensors and plain containers only, unless
a class is allowed by name. mmengine's hold its log history, and the arrays in
it, so a run could be saved but not resumed.
"""

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from packaging.version import Version

from .patches import repairs


def loads_weights_only() -> bool:
    """Whether ``torch.load`` refuses code by default, as it does since torch 2.6."""
    return Version(torch.__version__) >= Version('2.6')


@repairs.adding_to(
    'torch.serialization.get_safe_globals()',
    link='https://github.com/open-mmlab/mmengine/issues/1655',
    needed=loads_weights_only,
)
def allow_mmengine_checkpoints() -> None:
    """Allows the classes that mmengine saves, and no others.

    Why: a run cannot be resumed: `Unsupported global: …HistoryBuffer`. Only the classes that
    mmengine saves are allowed; `weights_only` stays on.
    """
    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')]
    allowed: list = [HistoryBuffer, np.ndarray, np.dtype, *dtypes]
    # numpy 2 moved these two: a checkpoint names them as its own numpy did.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(reconstruct, f'{module}._reconstruct'), (scalar, f'{module}.scalar')]
    # The history refers to its own methods, which pickle writes as getattr.
    for module in ('builtins', '__builtin__'):
        allowed.append((_history_method, f'{module}.getattr'))
    torch.serialization.add_safe_globals(allowed)


def _history_method(owner: Any, name: str) -> Any:
    """The ``getattr`` of a checkpoint, restricted to the history's own methods."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'a checkpoint may not read attribute {name!r} of {owner!r}')

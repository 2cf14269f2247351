"""mmengine's checkpoints under ``torch.load(weights_only=True)``.

Since torch 2.6 a checkpoint may hold tensors and plain containers only, unless
a class is allowed by name. mmengine's hold its log history, and the arrays in
it, so a run could be saved but not resumed.
https://github.com/open-mmlab/mmengine/issues/1655
"""

import functools
import pickle
from typing import Any

import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from packaging.version import Version


def allow_mmengine_checkpoints() -> None:
    """Allows the classes that mmengine saves, and refuses all other code.

    Checkpoints that come by URL are put under the same rule:
    ``torch.hub`` still loads those with ``weights_only=False``.

    Does nothing on torch < 2.6, whose ``torch.load`` runs any code that a
    checkpoint holds.
    """
    if Version(torch.__version__) < Version('2.6'):
        return
    torch.serialization.add_safe_globals(_saved_by_mmengine())
    load_url = mmengine_checkpoint.load_url
    if not isinstance(load_url, functools.partial):
        mmengine_checkpoint.load_url = functools.partial(load_url, weights_only=True)


def _saved_by_mmengine() -> list:
    reconstruct = np.zeros(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')]
    allowed: list = [HistoryBuffer, np.ndarray, np.dtype, *dtypes]
    # numpy 2 moved these two: a checkpoint names them as its own numpy did.
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed += [(reconstruct, f'{module}._reconstruct'), (scalar, f'{module}.scalar')]
    # The history names its own methods, which pickle spells as getattr.
    for module in ('builtins', '__builtin__'):
        allowed.append((_history_method, f'{module}.getattr'))
    return allowed


def _history_method(owner: Any, name: str) -> Any:
    """The only ``getattr`` that a checkpoint gets."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'a checkpoint may not read attribute {name!r} of {owner!r}')

"""A copy of a teacher that computes what its recorders need, and no more."""

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from mmrazor.models.task_modules.recorder import RecorderManager
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_flatten, tree_map_only

from .batch_norm_folding import fold_batch_norm


class FrozenTeacher:
    """A copy of a teacher for training steps.

    The teacher itself keeps its weights, buffers and names, so that saving, loading
    and evaluation do not change. The copy is no submodule of the algorithm. Its hooks
    fill the recorders that were prepared on the original.

    Args:
        teacher (nn.Module): A model of mmengine, whose weights are final.
        recorders (RecorderManager): The recorders that were prepared on it.
    """

    def __init__(self, teacher: nn.Module, recorders: RecorderManager) -> None:
        # The recorders are shared with the copy, so its hooks fill the originals.
        shared = {id(recorder): recorder for recorder in recorders.recorders.values()}
        self.module = copy.deepcopy(teacher, shared)
        # It runs inside the original's call, whose pre-hooks have changed the inputs.
        self.module._forward_pre_hooks.clear()
        self.mode = 'loss'
        self.dtype: torch.dtype | None = None
        self._recorders = recorders
        self._memory_format: torch.memory_format | None = None
        self._run: Callable[..., Any] = self.module

    def __call__(self, inputs: Any, data_samples: Any = None) -> None:
        """Runs the teacher for its recorders.

        Args:
            inputs (Tensor): As from the data preprocessor.
            data_samples (list, optional): As from the data preprocessor.
                Defaults to None.
        """
        if self._memory_format and isinstance(inputs, Tensor) and inputs.dim() == 4:
            inputs = inputs.contiguous(memory_format=self._memory_format)
        precision: Any = contextlib.nullcontext()  # That of the step.
        if self.dtype:
            device = next(self.module.parameters()).device.type
            precision = torch.autocast(device, dtype=self.dtype)
        with precision:
            self._run(inputs, data_samples, mode=self.mode)
        if self.dtype or self._memory_format:
            for buffer in self._buffers().values():
                buffer[:] = tree_map_only(Tensor, _plain, buffer)

    @torch.no_grad()
    def record(self, inputs: Any, data_samples: Any) -> dict[str, list]:
        """Runs the teacher and returns the records, by recorder."""
        with self._recorders:
            self(inputs, data_samples)
        return {name: list(buffer) for name, buffer in self._buffers().items()}

    def fold_batch_norm(self, inputs: Any, data_samples: Any) -> int:
        """Folds batch norm into convolutions.

        Args:
            inputs (Tensor): Images, of which the first two are used.
            data_samples (list): Their data samples.

        Returns:
            int: How many batch norms were folded.
        """
        few = [inputs[:2], data_samples and data_samples[:2]]
        return fold_batch_norm(self.module, lambda: self.module(*few, mode=self.mode))

    def to_channels_last(self) -> None:
        """Runs in the memory format in which convolutions are often faster."""
        self._memory_format = torch.channels_last
        self.module.to(memory_format=torch.channels_last)

    def to_dtype(self, dtype: torch.dtype) -> None:
        """Runs under autocast, with the weights cast once instead of every step."""
        self.dtype = dtype
        for module in self.module.modules():
            if isinstance(module, (nn.Linear, _ConvNd)):
                module.to(dtype)

    def compile(self, options: dict[str, Any]) -> None:
        """Runs through :func:`torch.compile`."""
        self._run = torch.compile(self.module, **options)

    def _buffers(self) -> dict[str, list]:
        return {name: r.data_buffer for name, r in self._recorders.recorders.items()}


def _plain(record: Tensor) -> Tensor:
    """Makes a tensor contiguous, and float32 if it is in half precision."""
    is_half = record.dtype in (torch.float16, torch.bfloat16)
    return (record.float() if is_half else record).contiguous()


# Differences above these, relative to the largest expected value, are not rounding: in
# float32, and where one of the two is in half precision.
TOLERANCE, HALF_TOLERANCE = 0.01, 0.1


def difference(found: Any, expected: Any) -> float:
    """The largest relative difference between two records.

    Args:
        found (Any): A tensor, a list, tuple or dict of them, or something else.
        expected (Any): The value that ``found`` is compared with.

    Returns:
        float: The largest difference, relative to the largest expected value of
        its tensor; infinite where their structures, numbers or shapes differ. Values that are
        not tensors are not compared.
    """
    (found, form), (expected, expected_form) = tree_flatten(found), tree_flatten(expected)
    pairs = [(f, e) for f, e in zip(found, expected, strict=False) if isinstance(e, Tensor)]
    if form != expected_form or any(getattr(f, 'shape', None) != e.shape for f, e in pairs):
        return math.inf
    return max((_get_error(f.float(), e.float()) for f, e in pairs if e.numel()), default=0.0)


def _get_error(found: Tensor, expected: Tensor) -> float:
    error = (found - expected).abs().max() / expected.abs().max().clamp(min=1e-12)
    return error.nan_to_num(nan=math.inf, posinf=math.inf).item()

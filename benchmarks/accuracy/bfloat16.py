"""Trains in bfloat16 on a CPU: ``optim_wrapper.type=benchmarks.accuracy.bfloat16.CPUAutocast``."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn


class CPUAutocast(OptimWrapper):
    """Trains under autocast on a CPU, where mmengine's ``AmpOptimWrapper`` is refused."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enables autocast in a step.

        Args:
            model (nn.Module): The model.
        """
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield

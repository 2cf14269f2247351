"""Several processes on a machine without an accelerator.

mmengine 0.10 calls ``torch.cuda.set_device`` whatever the backend is, and gives
``DistributedDataParallel`` a GPU number.
"""

from collections.abc import Callable
from typing import Any

import torch.distributed
from mmengine.device import get_device
from torch import nn

from .patches import repairs


def _has_no_accelerator() -> bool:
    return get_device() == 'cpu'


@repairs.wrapping(
    'mmengine.dist.utils._init_dist_pytorch',
    needed=_has_no_accelerator,
)
def init_without_gpu(
    original: Callable, backend: str, init_backend: str = 'torch', **kwargs: Any
) -> None:
    """Starts the process group without choosing a GPU.

    Why: `--launcher pytorch` on CPUs: `Found no NVIDIA driver`. The backend `nccl` becomes `gloo`.
    """
    if init_backend != 'torch':
        original(backend, init_backend=init_backend, **kwargs)
        return
    backend = 'gloo' if backend == 'nccl' else backend
    torch.distributed.init_process_group(backend=backend, **kwargs)


@repairs.wrapping(
    'mmengine.model.MMDistributedDataParallel.__init__',
    needed=_has_no_accelerator,
)
def wrap_without_gpu(
    original: Callable, self: nn.Module, module: nn.Module, *args: Any, **kwargs: Any
) -> None:
    """Drops the number of the GPU.

    Why: the runner passes the number of a GPU, which DDP refuses on CPUs.
    """
    kwargs.pop('device_ids', None)
    original(self, module, *args, **kwargs)

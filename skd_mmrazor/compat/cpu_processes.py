"""Several processes on a machine without an accelerator.

mmengine 0.10 calls ``torch.cuda.set_device`` whatever the backend is, and gives
``DistributedDataParallel`` a GPU number: ``--launcher pytorch`` ends in "Found no
NVIDIA driver", or in "device_ids … must be None" behind it.
"""

import functools
from typing import Any

import mmengine.dist.utils as mmengine_dist
import torch.distributed
from mmengine.device import get_device
from mmengine.model import MMDistributedDataParallel
from torch import nn


@functools.cache  # Once, however often it is called.
def allow_cpu_processes() -> None:
    """Lets the ``pytorch`` launcher run on CPUs, with any config.

    The backend that configs name, ``'nccl'``, becomes ``'gloo'``. Does nothing
    where there is an accelerator.
    """
    original = mmengine_dist._init_dist_pytorch
    wrap = MMDistributedDataParallel.__init__

    @functools.wraps(original)
    def init_dist(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
        # Asked here and not at import, lest CUDA is initialised by an import.
        if get_device() == 'cpu' and init_backend == 'torch':
            backend = 'gloo' if backend == 'nccl' else backend
            torch.distributed.init_process_group(backend=backend, **kwargs)
        else:
            original(backend, init_backend=init_backend, **kwargs)

    @functools.wraps(wrap)
    def init_ddp(self: nn.Module, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        if get_device() == 'cpu':
            kwargs['device_ids'] = None
        wrap(self, module, *args, **kwargs)

    mmengine_dist._init_dist_pytorch = init_dist
    MMDistributedDataParallel.__init__ = init_ddp

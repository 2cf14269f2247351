"""Several processes on a machine without an accelerator.

mmengine 0.10 calls ``torch.cuda.set_device`` whatever the backend is, so that
``--launcher pytorch`` with ``gloo`` ends in "Found no NVIDIA driver".
"""

import functools
from typing import Any

import mmengine.dist.utils as mmengine_dist
import torch.distributed
from mmengine.device import get_device


def allow_cpu_processes() -> None:
    """Lets the ``pytorch`` launcher run on CPUs.

    Does nothing where there is an accelerator.
    """
    original = mmengine_dist._init_dist_pytorch
    if hasattr(original, '__wrapped__'):
        return

    @functools.wraps(original)
    def init_dist(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
        # Asked here and not at import, lest CUDA is initialised by an import.
        if get_device() == 'cpu' and init_backend == 'torch':
            torch.distributed.init_process_group(backend=backend, **kwargs)
        else:
            original(backend, init_backend=init_backend, **kwargs)

    mmengine_dist._init_dist_pytorch = init_dist

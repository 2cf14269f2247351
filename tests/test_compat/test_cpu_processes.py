import inspect

import pytest
from mmengine.device import get_device
from mmengine.model import MMDistributedDataParallel

from skd_mmrazor.compat.cpu_processes import init_without_gpu

from ..conftest import run_python

pytestmark = pytest.mark.skipif(get_device() != 'cpu', reason='only without an accelerator')

PROGRAM = """
import os, sys
import torch
os.environ.update(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='127.0.0.1')
os.environ['MASTER_PORT'] = '0'
if sys.argv[1] == 'plugin':
    import skd_mmrazor
from mmengine.dist import init_dist
from mmengine.model import MMDistributedDataParallel
init_dist('pytorch', backend='nccl')
print('backend', torch.distributed.get_backend())
model = MMDistributedDataParallel(torch.nn.Linear(2, 1), device_ids=[0])
model(torch.ones(1, 2)).sum().backward()
print('gradient', model.module.weight.grad.tolist())
torch.distributed.destroy_process_group()
"""


def test_the_launcher_runs_with_the_settings_of_a_gpu():
    output = run_python('-c', PROGRAM, 'plugin')
    assert 'backend gloo' in output
    assert 'gradient [[1.0, 1.0]]' in output


def test_mmengine_alone_asks_for_a_gpu():
    """The reason for the repair is still there."""
    output = run_python('-c', PROGRAM, 'mmengine', check=False)
    assert 'torch.cuda.set_device(local_rank)' in output


def test_the_signature_of_ddp_stays():
    parameters = inspect.signature(MMDistributedDataParallel.__init__).parameters
    assert list(parameters) == ['self', 'module', 'detect_anomalous_params', 'kwargs']


def test_processes_that_are_started_by_another_library_still_are():
    calls = []
    started = lambda *args, **kwargs: calls.append((args, kwargs))  # noqa: E731
    init_without_gpu(started, 'nccl', init_backend='deepspeed', rank=1)
    assert calls == [(('nccl',), dict(init_backend='deepspeed', rank=1))]

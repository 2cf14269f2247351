"""Methods of the reference codes, run by their own loops, from checkouts that the user names."""

import contextlib
import importlib
import io
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from .cifar_networks import REFERENCE_NAMES, randomise

NUM_IMAGES = 50_000
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # images, labels, indices, those of negatives


def get_arch(name: str) -> str:
    """A network by its name in ``cifar100_networks.py``, from that in a config's name."""
    return name.replace('-', '_' if name.startswith('wrn') else '')


@contextlib.contextmanager
def on_cpu_in_float64() -> Iterator[None]:
    """Runs code that moves tensors to a GPU and to float32 as if it did neither."""

    def as_float(tensor: Tensor) -> Tensor:
        return tensor if tensor.is_floating_point() else tensor.double()

    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        mock.patch.object(Tensor, 'cuda', lambda tensor, *args, **kwargs: tensor),
        mock.patch.object(Tensor, 'float', as_float),
        mock.patch('torch.cuda.is_available', return_value=False),
    ):
        warnings.simplefilter('ignore')
        yield


def import_from(checkout: Path, names: list[str]) -> list[Any]:
    """Imports modules of a checkout, without what it requires and we do not run.

    Args:
        checkout (Path): The repository.
        names (list[str]): The modules.

    Raises:
        SystemExit: The checkout has no such module.
    """
    stubs = {
        'yacs.config': types.SimpleNamespace(CfgNode=ConfigDict),
        'tensorboardX': mock.MagicMock(),
        'mdistiller.engine.dot': mock.MagicMock(),  # An optimizer for an older torch.
    }
    sys.path.insert(0, str(checkout))
    try:
        with mock.patch.dict(sys.modules):
            sys.modules.update(stubs)
            return [importlib.import_module(name) for name in names]
    except ModuleNotFoundError as error:
        raise SystemExit(f'{str(checkout)!r}: expected a checkout with {names}. {error}') from error
    finally:
        sys.path.remove(str(checkout))


def make_networks(models: dict[str, Any], pair: str) -> list[nn.Module]:
    """An initial student, and a teacher with norm layers as if trained.

    Their statistics are those of random images, as in training: with others the logits
    are so large that rounding errors grow a thousandfold in a few steps.
    """
    found = []
    for name in reversed(pair.split('_')):
        arch = REFERENCE_NAMES.get(get_arch(name), get_arch(name))
        make = models[arch]
        # mdistiller also has the path of a checkpoint here.
        make = make[0] if isinstance(make, tuple) else make
        with on_cpu_in_float64():
            found.append(make(num_classes=100))
    student, teacher = found
    norms = [m for m in randomise(teacher).modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # The mean of all batches.
    with torch.no_grad():
        for _ in range(4):
            teacher.train()(torch.randn(32, 3, 32, 32))
    for norm in norms:
        norm.momentum = 0.1
    return [student, teacher]


def get_lr(pair: str) -> float:
    """The learning rate by student, as RepDistiller has it in ``train_student.py``."""
    return 0.01 if pair.split('_')[1].startswith(('mobilenet', 'shufflenet')) else 0.05

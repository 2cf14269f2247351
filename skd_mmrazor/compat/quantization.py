"""Imports mmrazor without its quantization.

mmrazor 1.0 fails to import on torch >= 2.0: its quantization package needs names
that ``torch.ao`` has lost. Distillation needs none of it.
https://github.com/open-mmlab/mmrazor/issues/632
https://github.com/open-mmlab/mmrazor/issues/652
"""

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch.ao.quantization import fuser_method_mappings

from .patches import repairs

_LAST_WITHOUT_QUANTIZATION = '1.12.1'
_ISSUE = 'https://github.com/open-mmlab/mmrazor/issues/615'


def _cannot_quantize() -> bool:
    return not hasattr(fuser_method_mappings, 'reverse2')


@repairs.adding_to(
    'mmrazor.digit_version (while mmrazor is imported)',
    link=_ISSUE,
    needed=_cannot_quantize,
)
def import_mmrazor_without_quantization() -> None:
    """Imports mmrazor on the path that it has for torch < 1.13.

    Why: `import mmrazor.models` fails on torch ≥ 2.0: ``ImportError: `torch>=1.13` is not installed
    properly``. mmrazor is imported without its quantization.
    """
    importlib.import_module('mmpretrain.models')
    with _old_torch_for_mmrazor():
        for part in ('models', 'engine', 'datasets', 'structures'):
            importlib.import_module(f'mmrazor.{part}')


@repairs.wrapping(
    'mmrazor.models.quantizers.base.BaseQuantizer.__init__',
    link=_ISSUE,
    needed=_cannot_quantize,
)
def refuse_quantizers(original: Callable, self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Makes building a quantizer an ImportError that says why.

    Why: a quantizer fails later, and does not say that quantization is off.
    """
    raise ImportError(
        f'{type(self).__name__} cannot be built: skd_mmrazor switched the quantization of mmrazor '
        f'1.0 off, since torch {torch.__version__} no longer has the torch.ao names that it needs '
        f'({_ISSUE}).'
    )


@contextlib.contextmanager
def _old_torch_for_mmrazor() -> Iterator[None]:
    """Lets mmrazor, and nobody else, read torch's version as 1.12.1.

    mmrazor's modules take ``digit_version`` from the package ``mmrazor``. Only
    that name changes, so other threads and libraries go on seeing torch as it
    is. The modules imported here keep the stand-in; once the import is over, or
    has failed, it answers as the original does.
    """
    import mmrazor

    original = mmrazor.digit_version
    importing = True

    def digit_version(version: str, *args: Any, **kwargs: Any) -> tuple:
        if importing and version == torch.__version__:
            version = _LAST_WITHOUT_QUANTIZATION
        return original(version, *args, **kwargs)

    mmrazor.digit_version = digit_version
    try:
        yield
    finally:
        importing = False
        mmrazor.digit_version = original

"""Data-free distillation with a distiller that has parameters.

mmrazor's ``DataFreeDistillation`` runs in one setting: several processes, and a
distiller with nothing to train. In one process its generator has no ``.module``;
the parameters of a distiller (of its connectors, of SKD's simplifier) are in
nobody's optimizer; and among several processes the distiller is wrapped, so that
its recorders are not found.
"""

import functools
from typing import Any

from mmengine.device import get_device
from mmengine.dist import all_reduce, broadcast
from mmengine.model import MMSeparateDistributedDataParallel
from torch import Tensor, nn


def train_data_free_distillers() -> None:
    """Lets ``DataFreeDistillation`` run in one process and train its distiller."""
    # Not at the top: mmrazor.engine can be imported once its quantization is off.
    from mmrazor.engine.optimizers import SeparateOptimWrapperConstructor
    from mmrazor.models.architectures.generators.base_generator import BaseGenerator

    if hasattr(BaseGenerator, 'module'):
        return
    BaseGenerator.module = property(lambda self: self)
    SeparateOptimWrapperConstructor.__call__ = _with_distiller(
        SeparateOptimWrapperConstructor.__call__
    )
    parallel: Any = MMSeparateDistributedDataParallel
    parallel.__init__ = _without_distiller(parallel.__init__)


def _with_distiller(original: Any) -> Any:
    @functools.wraps(original)
    def build(self: Any, module: nn.Module) -> Any:
        wrappers = original(self, module)
        distiller = getattr(getattr(module, 'module', module), 'distiller', None)
        if distiller is not None and 'architecture' in wrappers and 'distiller' not in wrappers:
            parameters = [p for p in distiller.parameters() if p.requires_grad]
            if parameters:
                wrappers['architecture'].optimizer.add_param_group({'params': parameters})
        return wrappers

    return build


def _without_distiller(original: Any) -> Any:
    @functools.wraps(original)
    def wrap(self: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        distiller = module._modules.get('distiller')
        if distiller is None:
            original(self, module, *args, **kwargs)
            return
        # A placeholder without parameters keeps the order of the modules.
        module._modules['distiller'] = nn.Identity()
        original(self, module, *args, **kwargs)
        module._modules['distiller'] = distiller.to(get_device())
        for parameter in distiller.parameters():
            if parameter.requires_grad:
                broadcast(parameter.data)
                parameter.register_hook(_average)

    return wrap


def _average(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    all_reduce(gradient, op='mean')
    return gradient

"""Data-free distillation with a distiller that has parameters.

mmrazor's ``DataFreeDistillation`` runs only in distributed training, and only with
a distiller that has no trainable parameters. The repairs change that algorithm
alone.
"""

from collections.abc import Callable
from typing import Any

from mmengine.device import get_device
from mmengine.dist import all_reduce, broadcast
from torch import Tensor, nn

from .patches import repairs


@repairs.replacing('mmrazor.models.architectures.generators.base_generator.BaseGenerator.module')
def be_its_own_module(original: None) -> property:
    """Lets a generator that is not wrapped answer as a wrapped one does.

    Why: data-free distillation in one process: `'DAFLGenerator' object has no attribute 'module'`.
    """
    return property(lambda self: self)


@repairs.wrapping('mmrazor.engine.optimizers.SeparateOptimWrapperConstructor.__call__')
def optimize_distiller(original: Callable, self: Any, module: nn.Module) -> Any:
    """Adds the distiller's parameters to the student's optimizer.

    Why: the parameters of a data-free distiller are in no optimizer. They join the student's.
    """
    wrappers = original(self, module)
    parameters = _distiller_parameters(getattr(module, 'module', module))
    if parameters:
        wrappers['architecture'].optimizer.add_param_group({'params': parameters})
    return wrappers


@repairs.wrapping('mmengine.model.MMSeparateDistributedDataParallel.__init__')
def leave_distiller_unwrapped(
    original: Callable, self: Any, module: nn.Module, *args: Any, **kwargs: Any
) -> None:
    """Wraps all modules except the distiller, whose gradients are averaged by hooks.

    Why: a data-free distiller with parameters is wrapped, and its recorders are not found. Its
    gradients are averaged without a wrapper.
    """
    parameters = _distiller_parameters(module)
    if not parameters:
        original(self, module, *args, **kwargs)
        return
    distiller: Any = module.distiller
    # A placeholder without parameters keeps the order of the modules.
    module._modules['distiller'] = nn.Identity()
    original(self, module, *args, **kwargs)
    module._modules['distiller'] = distiller.to(get_device())
    for parameter in parameters:
        broadcast(parameter.data)
        parameter.register_hook(_average)


def _distiller_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters of the distiller of a data-free algorithm."""
    from mmrazor.models.algorithms import DataFreeDistillation

    if not isinstance(model, DataFreeDistillation):
        return []
    return [p for p in model.distiller.parameters() if p.requires_grad]


def _average(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    all_reduce(gradient, op='mean')
    return gradient

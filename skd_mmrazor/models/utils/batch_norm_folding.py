"""Batch norm folded into the convolutions that feed it."""

import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


def fold_batch_norm(model: nn.Module, run: Callable[[], Any]) -> int:
    """Folds each batch norm whose input is the output of a convolution, used only there.

    Which convolution feeds which batch norm is observed in a forward pass, so the
    order in which a network holds or calls its layers does not matter. Left as
    they are: modules with hooks, which would see other values; modules that are
    called more than once; a batch norm in training mode.

    Uses :func:`torch.nn.utils.fusion.fuse_conv_bn_eval`.

    Args:
        model (nn.Module): The network, in evaluation mode. Changed in place.
        run (Callable): Runs ``model`` once, on any images.

    Returns:
        int: How many batch norms were folded.
    """
    pairs = _find_pairs(model, run)
    names = {module: name for name, module in model.named_modules()}
    for conv, norm in pairs:
        _replace(model, names[conv], fuse_conv_bn_eval(conv, norm))
        _replace(model, names[norm], nn.Identity())
    return len(pairs)


class _CountUses(TorchDispatchMode):
    """Counts how often each argument is given to an operator, by its ``id``."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        self.uses.update(id(value) for value in tree_flatten((args, kwargs))[0])
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def _find_pairs(model: nn.Module, run: Callable[[], Any]) -> list[tuple[Any, Any]]:
    mode, calls = _CountUses(), Counter[nn.Module]()
    # The outputs are kept alive: the id of a deleted tensor may be reused.
    sources: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[nn.Module, nn.Module, int]] = []

    def leave(module: nn.Module, args: tuple, output: Tensor) -> None:
        calls[module] += 1
        if not isinstance(module, _BatchNorm):
            sources[id(output)] = (module, output)
            mode.uses[id(output)] = 0
        elif id(args[0]) in sources:
            pairs.append((sources[id(args[0])][0], module, id(args[0])))

    with contextlib.ExitStack() as hooks:
        for module in filter(_is_candidate, model.modules()):
            hooks.enter_context(module.register_forward_hook(leave))
        hooks.enter_context(mode)
        run()
    return [
        (conv, norm)
        for conv, norm, output in pairs
        if calls[conv] == calls[norm] == mode.uses[output] == 1
    ]


def _is_candidate(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if isinstance(module, _BatchNorm):
        return module.affine and module.track_running_stats and not module.training
    return isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition('.')
    setattr(model.get_submodule(parent), child, module)

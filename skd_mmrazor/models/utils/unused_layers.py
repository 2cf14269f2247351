"""Layers whose outputs reach nothing that is recorded, such as the boxes beside the classes."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_leaves


def replace_unused_layers(model: nn.Module, run: Callable[[], Any]) -> dict[str, nn.Module]:
    """Replaces linear layers and convolutions on which no result depends by zeros.

    Which these are is read from the graph of autograd. A result may depend on a layer in
    another way, as proposals depend on the boxes of an RPN: the caller compares the results.
    Layers with hooks are left as they are.

    Args:
        model (nn.Module): The network. Changed in place.
        run (Callable): Runs ``model`` once, on any images, and returns all results.

    Returns:
        dict[str, nn.Module]: The layers that were replaced, by name.
    """
    kinds = (nn.Linear, _ConvNd)
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if isinstance(m, kinds)}
    for layer in layers.values():
        layer.weight.requires_grad_()
    with torch.enable_grad():
        results = [x for x in tree_leaves(run()) if isinstance(x, Tensor)]
    used = _find_leaves(results)
    # A result without a graph does not tell what it depends on.
    is_told = all(x.requires_grad for x in results)
    for layer in layers.values():
        layer.weight.requires_grad_(False)
    unused = {
        name: layer
        for name, layer in layers.items()
        if is_told and id(layer.weight) not in used
        if not layer._forward_hooks and not layer._forward_pre_hooks
    }
    for name, layer in unused.items():
        set_layer(model, name, _Zeros(layer))
    return unused


def set_layer(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts a layer in the place of another."""
    parent, _, child = name.rpartition('.')
    setattr(model.get_submodule(parent), child, layer)


class _Zeros(nn.Module):
    """Zeros of the shape that a layer gives."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer: Any = copy.deepcopy(layer).to('meta')

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(self.layer(x.to('meta', self.layer.weight.dtype)).shape)


def _find_leaves(results: list[Tensor]) -> set[int]:
    """The ids of the tensors that results were computed from."""
    found = {id(x) for x in results if x.grad_fn is None}
    nodes, seen = [x.grad_fn for x in results], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.add(id(node.variable))
        nodes += [child for child, _ in node.next_functions]
    return found

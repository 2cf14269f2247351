"""Descriptions of built objects, equal for objects of the same config."""

import contextlib
import copyreg
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from types import CellType, CodeType, ModuleType
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

# What a module has whatever it computes, and where its weights come from.
_OF_EVERY_MODULE = frozenset(vars(BaseModule()))


def describe(value: Any, _outer: tuple[int, ...] = ()) -> Any:
    """Describes an object by its type and its attributes, in types of JSON.

    Args:
        value (Any): The object, such as a transform. Arrays of more than 64 elements
            are hashed. A module is described by its parameters, buffers and children too, a
            function without a name by its code and what it refers to, any other object by what
            pickle would keep as well. All devices are alike. An object within itself is named
            by its depth, so that the description ends.

    Returns:
        Any: Equal for objects that were built from the same config.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return describe(value.item()) if value.dtype.kind in 'biufU' else repr(value)
    if isinstance(value, np.ndarray) and (value.size <= 64 or value.dtype.hasobject):
        return describe(value.tolist())
    if isinstance(value, Tensor) and value.numel() <= 64:
        return value.tolist()
    if isinstance(value, (np.ndarray, Tensor)):
        data = to_bytes(value) if isinstance(value, Tensor) else value.tobytes()
        return hashlib.sha256(data).hexdigest()
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, torch.device):
        return 'a device'
    if isinstance(value, type):
        return f'{value.__module__}.{value.__qualname__}'
    if id(value) in _outer:
        return dict(inside_itself=_outer.index(id(value)))
    inner = functools.partial(describe, _outer=(*_outer, id(value)))
    if isinstance(value, CodeType):
        return [value.co_code.hex(), list(value.co_names), [inner(c) for c in value.co_consts]]
    if callable(value) and hasattr(value, '__qualname__'):
        return _describe_function(value, inner)
    if isinstance(value, Mapping):
        return {str(k): inner(v) for k, v in value.items()}
    if isinstance(value, functools.partial):
        return [inner(part) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, (list, tuple)):
        return [inner(v) for v in value]
    attributes = dict(getattr(value, '__dict__', {}))
    if isinstance(value, nn.Module):
        own = {k: v for k, v in attributes.items() if k not in _OF_EVERY_MODULE}
        attributes = {**value._parameters, **value._buffers, **value._modules, **own}
    else:
        with contextlib.suppress(Exception):  # An open file cannot be pickled.
            state = _get_state(value)
            attributes.update(dict(state_=state) if state else {})
    described = {k + '_' * (k == 'type'): inner(v) for k, v in attributes.items()}
    return {'type': type(value).__qualname__, **described}


def _describe_function(value: Any, inner: Callable[[Any], Any]) -> Any:
    name = f'{value.__module__}.{value.__qualname__}'
    owner = getattr(value, '__self__', None)
    if getattr(owner, '__dict__', None) and not isinstance(owner, (type, ModuleType)):
        return [name, inner(owner)]  # A method.
    if '<' not in value.__qualname__ or not hasattr(value, '__code__'):
        return name
    cells = [_read(cell) for cell in value.__closure__ or ()]
    return [name, *map(inner, (value.__code__, cells, value.__defaults__, value.__kwdefaults__))]


def _read(cell: CellType) -> Any:
    with contextlib.suppress(ValueError):  # It may be empty.
        return cell.cell_contents


def _get_state(value: Any) -> Any:
    """What pickle would keep of an object beside its attributes, such as slots and elements."""
    reduce = copyreg.dispatch_table.get(type(value), lambda v: v.__reduce_ex__(4))
    found = reduce(value)
    if isinstance(found, str):
        return found
    parts = [list(part) if isinstance(part, Iterator) else part for part in found[1:]]
    return [p for p in parts if p and not isinstance(p, dict) and p != (type(value),)]


def to_bytes(value: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return value.detach().cpu().flatten().view(torch.uint8).numpy().data

"""Descriptions of built objects, equal for objects of the same config."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def describe(value: Any, _outer: tuple[int, ...] = ()) -> Any:
    """Describes an object by its type and its attributes, in types of JSON.

    Args:
        value (Any): The object, such as a transform. Arrays of more than 64 elements
            are hashed. Of a module the public attributes and the buffers count. An object
            within itself is named by its depth, so that the description ends.

    Returns:
        Any: Equal for objects that were built from the same config.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (np.ndarray, Tensor)):
        value = torch.as_tensor(value)
        if value.numel() <= 64:
            return value.tolist()
        return hashlib.sha256(to_bytes(value)).hexdigest()
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, type) or (callable(value) and hasattr(value, '__qualname__')):
        return f'{value.__module__}.{value.__qualname__}'
    if id(value) in _outer:
        return dict(inside_itself=_outer.index(id(value)))
    inner = functools.partial(describe, _outer=(*_outer, id(value)))
    if isinstance(value, Mapping):
        return {str(k): inner(v) for k, v in value.items()}
    if isinstance(value, functools.partial):
        return [inner(part) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, (list, tuple)):
        return [inner(v) for v in value]
    attributes = dict(getattr(value, '__dict__', {}))
    if isinstance(value, nn.Module):
        public = {k: v for k, v in attributes.items() if k[0] != '_' and k != 'training'}
        attributes = {**public, **dict(value.named_buffers())}
    described = {k + '_' * (k == 'type'): inner(v) for k, v in attributes.items()}
    return {'type': type(value).__qualname__, **described}


def to_bytes(value: Tensor) -> memoryview:
    """The bytes of a tensor."""
    return value.detach().cpu().flatten().view(torch.uint8).numpy().data

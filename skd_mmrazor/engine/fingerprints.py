"""Hashes and descriptions that identify a teacher, a data set or a pipeline."""

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def hash_model(model: nn.Module) -> str:
    """Hashes the architecture and the weights of a model.

    Args:
        model (nn.Module): The model.

    Returns:
        str: In hexadecimal.
    """
    found = hashlib.sha256()
    for name, module in model.named_modules():
        # Not its repr, in which mmengine names the file that the weights come from.
        found.update(f'{name} {type(module).__name__} {module.extra_repr()}\n'.encode())
    for name, value in model.state_dict().items():
        found.update(name.encode())
        found.update(_to_bytes(value))
    return found.hexdigest()


def describe_dataset(dataset: Any) -> dict:
    """Describes a data set by its list of samples, without reading their files.

    Args:
        dataset (BaseDataset): Initialized.

    Returns:
        dict: Its type and the hash of its list, paths included.
    """
    # mmengine serializes the list by default, so that workers share its memory.
    data = getattr(dataset, 'data_bytes', np.empty(0, np.uint8))
    found = hashlib.sha256(data.data)
    if not len(data):
        for i in range(len(dataset)):
            found.update(repr(describe(dataset.get_data_info(i))).encode())
    return dict(type=type(dataset).__name__, hash=found.hexdigest())


def describe(value: Any) -> Any:
    """Describes an object by its type and its attributes, in types of JSON.

    Args:
        value (Any): The object, such as a transform. Arrays of more than 64 elements
            are hashed. Of a module the public attributes and the buffers count.

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
        return hashlib.sha256(_to_bytes(value)).hexdigest()
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, functools.partial):
        return [describe(value.func), describe(value.args), describe(value.keywords)]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, (list, tuple)):
        return [describe(v) for v in value]
    if isinstance(value, type) or (callable(value) and hasattr(value, '__qualname__')):
        return f'{value.__module__}.{value.__qualname__}'
    attributes = dict(getattr(value, '__dict__', {}))
    if isinstance(value, nn.Module):
        public = {k: v for k, v in attributes.items() if k[0] != '_' and k != 'training'}
        attributes = {**public, **dict(value.named_buffers())}
    return dict(type=type(value).__qualname__, **{k: describe(v) for k, v in attributes.items()})


def _to_bytes(value: Tensor) -> memoryview:
    return value.detach().cpu().flatten().view(torch.uint8).numpy().data

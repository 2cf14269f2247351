"""Hashes that identify a teacher or a data set."""

import hashlib
from typing import Any

import numpy as np
from torch import nn

from ..models.utils.teacher_normalization import Normalization
from ..utils.descriptions import describe, to_bytes


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
        found.update(to_bytes(value))
    return found.hexdigest()


def describe_inputs(dataset: Any, model: Any) -> dict:
    """Describes what the images of a training depend on.

    It is called before they are used: some transforms keep the files that they opened.

    Args:
        dataset (BaseDataset or InMemoryDataset): Initialized.
        model (SingleTeacherDistill): The algorithm.

    Returns:
        dict: In types of JSON.
    """
    images = getattr(dataset, 'dataset', dataset)
    used, own = (Normalization.of(m.data_preprocessor) for m in (model, model.teacher))
    ignored = own.is_default() or own.equals(used)
    return dict(
        samples=len(dataset),
        dataset=describe_dataset(images),
        # Crops and flips of whole batches draw other random numbers.
        in_memory=images is not dataset,
        pipeline=[describe(transform) for transform in images.pipeline.transforms],
        data_preprocessor=describe(model.data_preprocessor),
        teacher_normalization=None if ignored else describe(own),
    )


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

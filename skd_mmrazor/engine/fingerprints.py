"""What identifies a teacher or a data set."""

import hashlib
import itertools
import pickle
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseDataPreprocessor, BaseModule
from torch import Tensor, nn

from ..datasets import InMemoryDataset
from ..datasets.logit_store import CHANGES
from ..models.utils.teacher_normalization import Normalization
from ..utils import expect
from ..utils.descriptions import describe, to_bytes

_PART = 4096
# Of mmpretrain's networks and heads: they change what a step costs, or what is learned or logged.
_NOT_OF_LOGITS = {'with_cp', 'frozen_stages', 'norm_eval', 'topk', 'cal_acc'}
_GENERATORS = ('Generator', 'RandomState', 'Random')


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


def take_norms(model: Any) -> Tensor:
    """Takes the norms of some thousand numbers of each tensor of a teacher and its preprocessor.

    Averaging, pruning, loading and training change one of them, and they are read in a thousandth
    of the time that the teacher takes. :func:`hash_model` sees any other change.

    Args:
        model (SingleTeacherDistill): The algorithm.

    Returns:
        Tensor: Of shape (tensors,), float32.
    """
    modules = (model.teacher, model.data_preprocessor)
    tensors = itertools.chain(*((*m.parameters(), *m.buffers()) for m in modules))
    found = [t for t in tensors if t.is_floating_point() and t.numel()]
    # A slice of the first dimension, which is a view in any memory format.
    parts = [t[: max(_PART * len(t) // t.numel(), 1)] if t.dim() else t for t in found]
    with torch.no_grad():
        # Of all tensors at once, as in clip_grad_norm_: on a GPU each call costs its launch.
        norms = torch._foreach_norm(parts) if parts else [torch.zeros(())]
        return torch.stack([norm.float() for norm in norms])


def describe_inputs(dataset: Any, model: Any) -> dict:
    """Describes what a teacher's logits depend on, but for its weights.

    Args:
        dataset (BaseDataset or InMemoryDataset): Initialized.
        model (SingleTeacherDistill): The algorithm.

    Returns:
        dict: In types of JSON.
    """
    in_memory = isinstance(dataset, InMemoryDataset)
    images = dataset.dataset if in_memory else dataset
    used, own = (Normalization.of(m.data_preprocessor) for m in (model, model.teacher))
    ignored = own.is_default() or own.equals(used)
    plain = BaseModule()
    return dict(
        samples=len(dataset),
        dataset=dict(
            _get_settings(images, BaseDataset(lazy_init=True)), type=type(images).__name__
        ),
        # Crops and flips of whole batches draw other random numbers.
        in_memory=in_memory,
        pipeline=[describe(transform) for transform in images.pipeline.transforms],
        data_preprocessor=describe(model.data_preprocessor),
        teacher_normalization=None if ignored else describe(own),
        # Those of torch's own modules are in the hash of the model, and its data
        # preprocessor does nothing but normalise.
        teacher_settings={
            name: _get_settings(module, plain)
            for name, module in model.teacher.named_modules()
            if not isinstance(module, BaseDataPreprocessor)
            and not name.rpartition('.')[2].startswith('loss')
            and not type(module).__module__.startswith('torch.nn.')
        },
    )


def hash_samples(dataset: Any) -> str:
    """Hashes the list of a data set's samples, without reading their files.

    Args:
        dataset (BaseDataset or InMemoryDataset): Initialized. Paths begin at its ``data_root``.

    Returns:
        str: In hexadecimal.
    """
    dataset = dataset.dataset if isinstance(dataset, InMemoryDataset) else dataset
    found, root = hashlib.sha256(), str(dataset.data_root or '').rstrip('/')
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        for key, value in info.items():
            if isinstance(value, str) and root:
                info[key] = value.removeprefix(root).removeprefix('/')
        found.update(pickle.dumps(info, protocol=4))
    return found.hexdigest()


def _get_settings(value: Any, plain: Any) -> dict:
    """The plain values among the attributes that an object has and another has not."""
    kinds = (bool, int, float, str)
    own = {k: v for k, v in vars(value).items() if not hasattr(plain, k)}
    found = {k: v for k, v in own.items() if k not in _NOT_OF_LOGITS}
    for key, each in list(found.items()):
        elements = each if isinstance(each, (list, tuple)) else [each]
        if not all(isinstance(e, kinds) for e in elements):
            del found[key]
        elif isinstance(each, tuple) and all(isinstance(e, str) for e in each):
            found[key] = sorted(each)  # That of a set has another order in each process.
    return found


def keep_constant(before: Any, after: Any, key: str) -> Any:
    """Leaves out of a description what using the object has changed.

    Some transforms keep the last size that they drew or the files that they opened.

    Args:
        before (Any): The description of an object.
        after (Any): That of the same object, after its use.
        key (str): Its name in a message.

    Returns:
        Any: What is in both, and :data:`CHANGES` where a value differs.

    Raises:
        ValueError: A generator of random numbers has been used.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        expected = 'none, since the hook can seed the generators of Python, NumPy and torch alone'
        own = before != after and before.get('type') in _GENERATORS
        expect(not own, key, f'a {before.get("type")} of its own', expected)
        both = [k for k in before if k in after]
        return {k: keep_constant(before[k], after[k], f'{key}.{k}') for k in both}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [keep_constant(*pair, f'{key}[{i}]') for i, pair in pairs]
    return before if repr(before) == repr(after) else CHANGES

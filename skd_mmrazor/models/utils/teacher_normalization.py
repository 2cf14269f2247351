"""Teachers whose images are normalized differently from the student's."""

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...utils import expect


class Normalization(NamedTuple):
    """How a data preprocessor changes the values of images.

    Args:
        mean (Tensor): The mean that is subtracted, (C, 1, 1) or (1, 1, 1).
        std (Tensor): The standard deviation, of the same shape.
        swaps (bool): Whether the order of the channels is reversed first.
    """

    mean: Tensor
    std: Tensor
    swaps: bool

    @classmethod
    def of(cls, preprocessor: Any) -> 'Normalization':
        """Reads a data preprocessor of mmengine, mmpretrain, mmdet or mmseg."""
        nothing = torch.tensor([[[0.0]]]), torch.tensor([[[1.0]]])
        mean, std = (
            getattr(preprocessor, name, default).detach().float().cpu()
            for name, default in zip(('mean', 'std'), nothing, strict=True)
        )
        names = ('to_rgb', '_channel_conversion')
        return cls(mean, std, any(getattr(preprocessor, name, False) for name in names))

    def equals(self, other: 'Normalization') -> bool:
        """Whether two normalizations are the same, up to rounding in a config."""
        pairs = (self.mean, other.mean), (self.std, other.std)
        same = all(a.dim() == b.dim() and torch.allclose(a, b, rtol=1e-3) for a, b in pairs)
        return same and self.swaps == other.swaps

    def is_default(self) -> bool:
        """Whether images stay as they are."""
        return self.equals(Normalization.of(None))

    def __str__(self) -> str:
        mean, std = ([round(x, 3) for x in v.flatten().tolist()] for v in (self.mean, self.std))
        return f'dict(mean={mean}, std={std}, to_rgb={self.swaps})'


def keep_own_normalization(teacher: nn.Module, used: Any) -> bool:
    """Lets a teacher see images as its own ``data_preprocessor`` normalizes them.

    mmengine prepares a batch once, for student and teacher. Where the teacher's
    own normalization differs, a forward pre-hook undoes the one that was applied
    and applies the teacher's. A teacher whose preprocessor does not normalize at all
    receives the student's images. Images have already been padded.

    Args:
        teacher (nn.Module): The teacher, with its own ``data_preprocessor``.
        used (nn.Module): The preprocessor of the algorithm.

    Returns:
        bool: Whether the teacher's normalization differs.
    """
    given, own = Normalization.of(used), Normalization.of(teacher.data_preprocessor)
    if own.is_default() or own.equals(given):
        return False

    hook = functools.partial(_renormalize, given, own)  # Which can be pickled.
    teacher.register_forward_pre_hook(hook, with_kwargs=True)
    return True


def _renormalize(
    given: Normalization, own: Normalization, module: nn.Module, args: tuple, kwargs: dict
) -> tuple[tuple, dict]:
    inputs = args[0] if args else kwargs['inputs']
    key, expected = 'model.teacher.data_preprocessor', 'none, since its inputs are no tensor'
    expect(isinstance(inputs, Tensor), key, str(own), expected)
    images = inputs * given.std.to(inputs) + given.mean.to(inputs)
    channels = -own.mean.dim()
    if given.swaps != own.swaps and images.shape[channels] == 3:
        images = images.flip(channels)
    images = (images - own.mean.to(inputs)) / own.std.to(inputs)
    return ((images, *args[1:]), kwargs) if args else ((), {**kwargs, 'inputs': images})

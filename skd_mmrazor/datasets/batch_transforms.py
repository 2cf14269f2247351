"""mmpretrain's random transforms, for a whole batch at once."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmcv.transforms import BaseTransform, RandomFlip
from mmpretrain.datasets.transforms import RandomCrop
from torch import Tensor
from torchvision.transforms import functional

from ..utils import expect, is_number

BatchTransform = Callable[..., Tensor]
FLIPPED = dict(horizontal=(3,), vertical=(2,), diagonal=(2, 3))


def to_batch_transform(transform: BaseTransform, key: str) -> BatchTransform:
    """Makes a function that applies a random transform to each image of a batch.

    Each image has random numbers of its own, drawn by torch's generator of the
    device that the batch is on, or given as ``uniform``, of shape (N, 2).

    Args:
        transform (BaseTransform): A ``RandomCrop`` of mmpretrain, or a
            ``RandomFlip``.
        key (str): Where the transform stands in the config.

    Returns:
        Callable: Takes images of shape (N, C, H, W), and returns images.

    Raises:
        ValueError: The transform, or a setting of it, is none of those known here.
    """
    # Not isinstance: a subclass does something else.
    if type(transform) is RandomCrop:
        expected = 'a RandomCrop that pads with one number, and not only if needed'
        constant = transform.padding_mode == 'constant' and is_number(transform.pad_val)
        expect(constant and not transform.pad_if_needed, key, transform, expected)
        return partial(
            random_crop,
            crop_size=transform.crop_size,
            padding=0 if transform.padding is None else transform.padding,
            pad_val=transform.pad_val,
        )
    expect(type(transform) is RandomFlip, key, transform, "mmpretrain's RandomCrop or RandomFlip")
    single = isinstance(transform.prob, float) and isinstance(transform.direction, str)
    expect(single, key, transform, 'a RandomFlip of one probability and one direction')
    return partial(random_flip, prob=transform.prob, direction=transform.direction)


def random_crop(
    images: Tensor,
    crop_size: tuple[int, int],
    padding: int | Sequence[int] = 0,
    pad_val: float = 0,
    uniform: Tensor | None = None,
) -> Tensor:
    """Crops each image at a random place of its own.

    Args:
        images (Tensor): Of shape (N, C, H, W).
        crop_size (tuple[int, int]): Height and width.
        padding (int or Sequence[int]): Left, top, right and bottom; or left and
            right, top and bottom; or all. Defaults to 0.
        pad_val (float): The value of the padding. Defaults to 0.
        uniform (Tensor, optional): For each image two numbers in [0, 1), which
            choose its place. Defaults to None: they are drawn.

    Returns:
        Tensor: The crops; as high and wide as the padded images at most.
    """
    padded = functional.pad(images, padding, pad_val)
    height, width = (min(pair) for pair in zip(crop_size, padded.shape[2:], strict=True))
    # A view of all places: (N, C, rows, columns, height, width).
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    n, device = len(images), images.device
    if uniform is None:
        rows, columns = (torch.randint(places, (n,), device=device) for places in crops.shape[2:4])
    else:
        places = torch.tensor(crops.shape[2:4], device=device)
        rows, columns = (uniform * places).long().unbind(1)
    return crops[torch.arange(n, device=device), :, rows, columns]


def random_flip(
    images: Tensor, prob: float, direction: str = 'horizontal', uniform: Tensor | None = None
) -> Tensor:
    """Flips each image with a probability.

    Args:
        images (Tensor): Of shape (N, C, H, W).
        prob (float): The probability that an image is flipped.
        direction (str): ``'horizontal'``, ``'vertical'`` or ``'diagonal'``, which
            is both. Defaults to ``'horizontal'``.
        uniform (Tensor, optional): For each image two numbers in [0, 1), of which
            the first decides. Defaults to None: they are drawn.
    """
    drawn = torch.rand(len(images), device=images.device) if uniform is None else uniform[:, 0]
    flipped = (drawn < prob).view(-1, 1, 1, 1)
    return torch.where(flipped, images.flip(FLIPPED[direction]), images)

"""Small images, loaded and augmented fast enough for a GPU."""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from mmengine.dataset import BaseDataset, force_full_init
from mmengine.device import get_device
from mmpretrain.datasets.transforms import PackInputs
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import get_worker_info

from ..registry import DATASETS
from ..utils import error_context, expect
from .augmentation_seed import VIEW, AugmentationSeed
from .batch_transforms import to_batch_transform


@DATASETS.register_module(force=True)
class InMemoryDataset:
    """A wrapper that makes whole batches, from images held in memory as a tensor.

    mmpretrain crops, flips, packs and normalises one image after another, which
    takes longer than training a small network on them. Here the pipeline of the
    wrapped dataset is applied to a batch in a few operations, on the GPU if there
    is one. Each image still has a crop and a flip of its own; they are equal in
    distribution, not in the numbers drawn.

    torch's ``DataLoader`` asks for a batch by `__getitems__
    <https://pytorch.org/docs/stable/data.html#torch.utils.data.Dataset>`_, and must
    be told to leave it as it is (``collate_fn``). A single ``dataset[i]`` is that
    of the wrapped dataset. Of the meta keys of ``PackInputs`` a sample has
    ``sample_idx`` alone.

    mmpretrain's ``batch_augments`` cannot do this: they come after the normalisation,
    where the padding would not be black, and make every label a one-hot score.

    Note:
        With ``num_workers=0`` the random numbers are drawn in the training process.
        With several of them, ``randomness=dict(diff_rank_seed=True)`` lets each
        draw its own.

    Args:
        dataset (BaseDataset or dict): The dataset: uint8 images of one size, each
            with one label. Its pipeline may have ``RandomCrop`` and ``RandomFlip``,
            and ends with ``PackInputs``.
        device (str, optional): The device that holds the images and makes the
            batches. Defaults to None: the one on which mmengine trains. Workers of a
            data loader always use the CPU, since CUDA does not survive a fork.
        lazy_init (bool): Whether to read the images when they are first needed.
            Defaults to False.

    Raises:
        ValueError: The dataset, its pipeline, an image or the device is not one of
            those described above.

    Examples:
        >>> train_dataloader = dict(
        ...     batch_size=64,
        ...     num_workers=0,
        ...     collate_fn=dict(type='torch.utils.data.default_convert'),
        ...     dataset=dict(
        ...         type='skd_mmrazor.InMemoryDataset', dataset=dict(type='CIFAR100', ...)),
        ...     sampler=dict(type='DefaultSampler', shuffle=True))
    """

    def __init__(
        self, dataset: BaseDataset | dict, device: str | None = None, lazy_init: bool = False
    ) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        known = isinstance(self.dataset, BaseDataset)
        expect(known, _key('dataset'), self.dataset, "a BaseDataset of mmengine's, or its config")
        with error_context(_key('device'), device, 'a device of torch'):
            self.device = torch.device(get_device() if device is None else device)
        *transforms, self._pack = self.dataset.pipeline.transforms or [None]
        self._transforms = [
            to_batch_transform(transform, _key(f'dataset.pipeline[{i}]'))
            for i, transform in enumerate(transforms)
        ]
        packs = type(self._pack) is PackInputs and self._pack.input_key == 'img'
        packs = packs and not self._pack.algorithm_keys
        expected = "mmpretrain's PackInputs, of img and without algorithm_keys"
        expect(packs, _key('dataset.pipeline[-1]'), self._pack, expected)

        # Set by a hook that needs the same crops and flips again.
        self.augmentation_seed: AugmentationSeed | None = None
        self._uniform: dict[tuple[int, int], list[Tensor]] = {}
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """The meta information of the wrapped dataset."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Reads all images and labels.

        Raises:
            ValueError: An image is not of uint8, differs in size from the first, or
                does not have exactly one label.
        """
        if self._fully_initialized:
            return
        self.dataset.full_init()
        size = len(self.dataset)
        expect(size > 0, f'len({_key("dataset")})', size, 'at least 1')
        for i, (image, label) in enumerate(map(self._read, range(size))):
            if i == 0:
                self._images = image.new_empty(size, *image.shape)
                self._labels = label.new_empty(size)
            shape = tuple(self._images.shape[1:])
            same = image.shape == shape
            key = _key(f'shape of the img of sample {i}')
            expect(same, key, tuple(image.shape), f'{shape}, as that of sample 0')
            self._images[i], self._labels[i] = image, label
        self._on_device: Tensor | None = None
        self._fully_initialized = True

    def _read(self, i: int) -> tuple[Tensor, Tensor]:
        """An image, uint8 of shape (C, H, W), and its label."""
        packed = self._pack(self.dataset.get_data_info(i))
        image, labels = packed.get('inputs'), dict(packed['data_samples'].items())
        dtype = getattr(image, 'dtype', None)
        expect(dtype == torch.uint8, _key(f'dtype of the img of sample {i}'), dtype, 'torch.uint8')
        single = list(labels) == ['gt_label'] and labels['gt_label'].numel() == 1
        expect(single, _key(f'labels of sample {i}'), labels, 'gt_label alone, which is one')
        return image, labels['gt_label'][0]

    @force_full_init
    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, i: int) -> dict:
        return self.dataset[i]

    @force_full_init
    def __getitems__(self, indices: Sequence[int]) -> dict:
        """Makes a batch.

        Args:
            indices (Sequence[int]): The numbers of the images.

        Returns:
            dict: ``inputs``, a tensor of shape (N, C, H, W), and ``data_samples``,
            a list.
        """
        index = torch.as_tensor(indices)
        images = self._get_images()[index]
        if self.augmentation_seed is None:
            meta: dict[str, int] = {}
            uniform: list[Tensor | None] = [None] * len(self._transforms)
        else:
            view = self.augmentation_seed.view
            meta = {VIEW: view}
            drawn = self._get_uniform(self.augmentation_seed, view)
            uniform = [numbers[index].to(images.device) for numbers in drawn]
        for transform, numbers in zip(self._transforms, uniform, strict=True):
            images = transform(images, uniform=numbers)
        # The data preprocessor moves the labels, all at once.
        labels = self._labels[index].split(1)
        samples = [
            DataSample(metainfo=dict(meta, sample_idx=i)).set_gt_label(label)
            for i, label in zip(indices, labels, strict=True)
        ]
        return _Batch(inputs=images, data_samples=samples)

    def _get_uniform(self, seed: AugmentationSeed, view: int) -> list[Tensor]:
        """The random numbers of all images in a view, by transform."""
        size = len(self._images)
        if (seed.seed, view) not in self._uniform:
            drawn = [seed.get_uniform(view, i, size) for i in range(len(self._transforms))]
            self._uniform = {(seed.seed, view): drawn}
        return self._uniform[seed.seed, view]

    def _get_images(self) -> Tensor:
        if get_worker_info() is not None:
            return self._images
        # Not earlier: a distributed process chooses its GPU after the data set is built.
        if self._on_device is None:
            self._on_device = self._images.to(self.device)
        return self._on_device


class _Batch(dict):
    """A batch whose error names ``collate_fn`` if a collate function asks for ``batch[0]``."""

    def __missing__(self, key: Any) -> NoReturn:
        if key == 0:
            expected = "dict(type='torch.utils.data.default_convert') with an InMemoryDataset"
            raise KeyError(f'collate_fn of the dataloader, expected {expected}.')
        raise KeyError(key)


def _key(name: str) -> str:
    return f'InMemoryDataset: {name}'

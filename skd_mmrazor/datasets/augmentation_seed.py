"""Augmentation as a function of a seed, a view and the number of the image."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, Compose
from numpy.random import mtrand
from torch import Tensor

from ..utils import expect

# The key under which a sample's meta information has its view.
VIEW = 'augmentation_view'
_GENERATORS: list[np.random.BitGenerator] = []


class AugmentationSeed:
    """What determines the augmentation of each image.

    The view is in shared memory, so that running workers of a data loader see a new
    one. The numbers do not depend on which worker loads an image, or in what order.

    Args:
        seed (int): Not negative.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._view = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def view(self) -> int:
        """The number of the augmented view, such as that of the epoch."""
        return int(self._view)

    @view.setter
    def view(self, view: int) -> None:
        self._view.fill_(view)

    def get_uniform(self, view: int, transform: int, samples: int) -> Tensor:
        """Draws the random numbers of a transform of whole batches.

        Args:
            view (int): The view.
            transform (int): The position of the transform in the pipeline.
            samples (int): The length of the data set.

        Returns:
            Tensor: Of shape (samples, 2), float64 in [0, 1), on the CPU.
        """
        (state,) = np.random.SeedSequence([self.seed, view, transform]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state))
        return torch.rand(samples, 2, generator=generator, dtype=torch.float64)


@contextlib.contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seeds Python, NumPy and torch on the CPU, and restores their states afterwards.

    Args:
        *key (int): The integers from which the seeds are derived; not negative.
    """
    python, torch_state = random.getstate(), torch.get_rng_state()
    seeds = np.random.SeedSequence(key).generate_state(3).tolist()
    with _other_numpy_generator():
        random.seed(seeds[0])
        np.random.seed(seeds[1])
        # Not torch.manual_seed, which seeds GPUs too.
        torch.random.default_generator.manual_seed(seeds[2])
        try:
            yield
        finally:
            random.setstate(python)
            torch.set_rng_state(torch_state)


@contextlib.contextmanager
def _other_numpy_generator() -> Iterator[None]:
    if not hasattr(mtrand, 'set_bit_generator'):  # NumPy < 1.24
        state = np.random.get_state()
        try:
            yield
        finally:
            np.random.set_state(state)
        return
    # Restoring a state takes as long as cropping a small image: exchange the generator.
    original = mtrand.get_bit_generator()
    mtrand.set_bit_generator(_GENERATORS.pop() if _GENERATORS else np.random.MT19937())
    try:
        yield
    finally:
        _GENERATORS.append(mtrand.get_bit_generator())
        mtrand.set_bit_generator(original)


class SeededPipeline:
    """A pipeline whose random numbers are a function of the seed, the view and the image.

    The meta information of each sample says which view it is of.

    Args:
        pipeline (Compose): The pipeline of a ``BaseDataset``, which ends by packing samples.
        seed (AugmentationSeed): The seed.
    """

    def __init__(self, pipeline: Compose, seed: AugmentationSeed) -> None:
        self.pipeline = pipeline
        self.seed = seed

    @property
    def transforms(self) -> list:
        """The transforms of the pipeline."""
        return self.pipeline.transforms

    def __call__(self, data: dict) -> dict | None:
        """Makes a sample.

        Args:
            data (dict): An entry of the data list, with ``sample_idx``.

        Returns:
            dict: ``inputs`` and ``data_samples``, or None if the pipeline returns None.
        """
        index, view = data['sample_idx'], self.seed.view
        with seeded(self.seed.seed, view, index):
            packed = self.pipeline(data)
        if packed is not None:
            packed['data_samples'].set_metainfo({VIEW: view, 'sample_idx': index})
        return packed


def seed_augmentation(dataset: Any, seed: AugmentationSeed, key: str) -> None:
    """Makes the augmentation of a data set a function of a seed.

    Args:
        dataset (BaseDataset or InMemoryDataset): The data set.
        seed (AugmentationSeed): The seed.
        key (str): Where the data set stands in the config.

    Raises:
        ValueError: The data set is of another type, such as one that wraps others, or
            its pipeline does not end by packing ``data_samples``.
    """
    if hasattr(dataset, 'augmentation_seed'):
        dataset.augmentation_seed = seed
        return
    expected = 'a BaseDataset or an InMemoryDataset'
    known = isinstance(dataset, BaseDataset)
    expect(known, f'{key}.type', type(dataset).__name__, expected)
    last = (dataset.pipeline.transforms or [None])[-1]
    # By name: each library of OpenMMLab has one of its own.
    packs = type(last).__name__.startswith('Pack')
    expect(packs, f'{key}.pipeline[-1]', last, "one that packs 'data_samples', as PackInputs does")
    dataset.pipeline = SeededPipeline(dataset.pipeline, seed)


def is_seeded(dataset: Any) -> bool:
    """Whether :func:`seed_augmentation` is in effect for a data set.

    Args:
        dataset (BaseDataset or InMemoryDataset): The data set.
    """
    if hasattr(dataset, 'augmentation_seed'):
        return dataset.augmentation_seed is not None
    return isinstance(dataset.pipeline, SeededPipeline)


def unseed_augmentation(dataset: Any) -> None:
    """Undoes :func:`seed_augmentation`.

    Args:
        dataset (BaseDataset or InMemoryDataset): The data set.
    """
    if hasattr(dataset, 'augmentation_seed'):
        dataset.augmentation_seed = None
    elif is_seeded(dataset):
        dataset.pipeline = dataset.pipeline.pipeline

"""A stand-in for CIFAR-100 that needs no download."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import dist
from mmpretrain.datasets import BaseDataset

from ..registry import DATASETS
from ..utils import expect
from ..utils.files import write_beside
from . import glyph_images


@DATASETS.register_module(force=True)
class Glyph100(BaseDataset):
    """A hundred characters, drawn in colour with the fonts of matplotlib.

    In the format of mmpretrain's ``CIFAR100``, so that a config for the one runs
    on the other: 50,000 images for training and 10,000 for testing, of 32 x 32
    pixels, as many of each class. A character is turned, stretched, moved and
    hidden by noise; many differ in a stroke (Ш and Щ, O and Q, Ä and Å). The
    fonts of the test are not among those for training.

    The images are drawn when they are first used, in about ten seconds, and kept
    in ``data_root``. They follow from a seed: the SHA-256 of their bytes, a test in
    ``tests/test_datasets/test_glyph100.py``, is the same with Pillow 10.0 to 13.0
    (FreeType 2.13 and 2.14), matplotlib 3.8 to 3.11 and NumPy 1.26 and 2.4.

    A sample's ``img`` is a uint8 array of shape (32, 32, 3), in RGB.

    Args:
        data_root (str): The folder that keeps the images.
        split (str): ``'train'`` or ``'test'``. Defaults to ``'train'``.
        test_mode (bool, optional): As for mmpretrain's ``BaseDataset``. Defaults
            to None: True for the test.
        **kwargs: As for mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: ``data_root`` is empty, or ``split`` is neither.
    """

    METAINFO = {'classes': list(glyph_images.CLASSES)}

    def __init__(
        self,
        data_root: str = '',
        split: str = 'train',
        test_mode: bool | None = None,
        **kwargs: Any,
    ) -> None:
        name = type(self).__name__
        expect(bool(data_root), f'{name}: data_root', data_root, 'a folder to keep the images in')
        expect(split in ('train', 'test'), f'{name}: split', split, "'train' or 'test'")
        self.split = split
        test_mode = split == 'test' if test_mode is None else test_mode
        super().__init__(ann_file='', data_root=data_root, test_mode=test_mode, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Reads the images, or draws them where there are none.

        Returns:
            list[dict]: ``img`` and ``gt_label`` of every sample.
        """
        # Images drawn by another version of that file are never read.
        version = hashlib.sha256(Path(glyph_images.__file__).read_bytes()).hexdigest()[:8]
        path = Path(self.data_root, f'{self.split}_{version}.npy')
        if not dist.is_main_process():
            dist.barrier()
        if not path.exists():
            images = glyph_images.draw_images(self.split)
            with write_beside(path) as part, open(part, 'wb') as file:
                np.save(file, images)
        if dist.is_main_process():
            dist.barrier()
        images = np.load(path)
        return [{'img': image, 'gt_label': i % 100} for i, image in enumerate(images)]

    def extra_repr(self) -> list[str]:
        """The extra repr information of the dataset."""
        return [f'Root of dataset: \t{self.data_root}']

"""scikit-learn's handwritten digits as an mmpretrain data set."""

from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from ..registry import DATASETS
from ..utils import expect


@DATASETS.register_module(force=True)
class Digits(BaseDataset):
    """The handwritten digits that scikit-learn ships.

    `1,797 scans of 8 x 8 pixels
    <https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits>`_
    lie inside the package ``scikit-learn``, so a network can be trained on real
    images without a download. The first 898 in the order of the file are for
    training, the other 899 for validation: the split of scikit-learn's own
    `example
    <https://scikit-learn.org/stable/auto_examples/classification/plot_digits_classification.html>`_.

    A sample's ``img`` is a uint8 array of shape (8, 8); its 17 grey levels are
    spread over 0 to 255.

    Args:
        split (str): ``'train'`` or ``'val'``. Defaults to ``'train'``.
        **kwargs: As for mmpretrain's ``BaseDataset``.

    Raises:
        ValueError: ``split`` is neither.
    """

    METAINFO = {'classes': [str(digit) for digit in range(10)]}

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        expect(
            split in ('train', 'val'), f'{type(self).__name__}: split', split, "'train' or 'val'"
        )
        self.split = split
        super().__init__(ann_file='', test_mode=split == 'val', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Reads the images and labels of the split.

        Returns:
            list[dict]: ``img`` and ``gt_label`` of every sample.
        """
        # Not at the top: it takes a second, and others need no scikit-learn.
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        half = len(images) // 2
        part = slice(None, half) if self.split == 'train' else slice(half, None)
        return [
            {'img': image, 'gt_label': int(label)}
            for image, label in zip(images[part], digits.target[part], strict=True)
        ]

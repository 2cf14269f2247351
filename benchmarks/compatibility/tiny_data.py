"""Noise in the formats of ImageNet and CIFAR, a few images of each."""

import pickle
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100
from PIL import Image

IMAGES = 8


def make_imagenet(root: Path) -> None:
    """Writes JPEGs and annotation files in ImageNet's layout.

    Args:
        root (Path): The folder to make.
    """
    generator = np.random.default_rng(0)
    (root / 'meta').mkdir(parents=True)
    for split in ('train', 'val'):
        lines = []
        for i in range(IMAGES):
            name = f'n{i % 4:08d}/{i}.JPEG'
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(256, size=(280, 300, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, format='JPEG')
            lines.append(f'{name} {250 * (i % 4)}\n')
        (root / 'meta' / f'{split}.txt').write_text(''.join(lines))


def make_cifar(root: Path) -> None:
    """Writes the pickles of CIFAR-10 and CIFAR-100, and lets mmpretrain read them.

    Args:
        root (Path): The folder to make. Both data sets lie in it.
    """
    for dataset, labels, names in ((CIFAR10, 'labels', 10), (CIFAR100, 'fine_labels', 100)):
        folder = root / dataset.base_folder
        folder.mkdir(parents=True)
        for files in (dataset.train_list, dataset.test_list):
            # One file, whose checksum is not known.
            files[:] = [[files[0][0], None]]
            _pickle_batch(folder / files[0][0], labels)
        dataset.meta = dict(dataset.meta, md5=None)
        classes = {dataset.meta['key']: [str(i) for i in range(names)]}
        (folder / dataset.meta['filename']).write_bytes(pickle.dumps(classes))


def _pickle_batch(path: Path, labels: str) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(IMAGES, 3072), dtype=np.uint8)
    batch = {'data': pixels, labels: [i % 4 for i in range(IMAGES)]}
    path.write_bytes(pickle.dumps(batch))

"""Batches are cropped and flipped as mmpretrain does it to one image after another."""

import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import RandomCrop
from scipy import stats

from skd_mmrazor.datasets.batch_transforms import (
    random_crop,
    random_flip,
    to_batch_transform,
)

CROP = RandomCrop(crop_size=32, padding=4)
FLIP = RandomFlip(prob=0.5, direction='horizontal')
# (places to crop vertically, horizontally; flipped or not)
CELLS = (9, 9, 2)


def positions():
    """An image whose pixels are their row + 1 and column + 1: black is padding."""
    rows, columns = np.indices((32, 32), dtype=np.uint8) + np.uint8(1)
    return np.stack([rows, columns, np.full_like(rows, 7)], axis=-1)


def augment_batches(batches, size=64):
    """(N, H, W, C), made by the functions of batches."""
    image = torch.from_numpy(positions()).permute(2, 0, 1)
    made = []
    for _ in range(batches):
        images = image.expand(size, -1, -1, -1)
        for transform in (CROP, FLIP):
            images = to_batch_transform(transform, 'pipeline')(images)
        made.append(images)
    return torch.cat(made).permute(0, 2, 3, 1).numpy()


def augment_one_by_one(count):
    """(N, H, W, C), made by mmpretrain's transforms."""
    results = (FLIP(CROP(dict(img=positions()))) for _ in range(count))
    return np.stack([result['img'] for result in results])


def decode(image):
    """Where an image was cropped, and whether it was flipped."""
    # The pixel at (16, 16) is in every crop.
    ((row, column),) = np.argwhere((image[..., 0] == 17) & (image[..., 1] == 17))
    flipped = int(image[row, column - 1, 1] > image[row, column, 1])
    return 20 - row, 20 - (31 - column if flipped else column), flipped


def encode(row, column, flipped):
    """What :func:`decode` decodes, by NumPy alone."""
    padded = np.pad(positions(), ((4, 4), (4, 4), (0, 0)))
    crop = padded[row : row + 32, column : column + 32]
    return crop[:, ::-1] if flipped else crop


@pytest.fixture(scope='module')
def ours():
    torch.manual_seed(0)
    return augment_batches(256)


@pytest.fixture(scope='module')
def cells(ours):
    return np.array([decode(image) for image in ours])


def count(cells):
    return np.bincount(np.ravel_multi_index(cells.T, CELLS), minlength=np.prod(CELLS))


def test_every_image_is_a_crop_of_the_image_on_black(ours, cells):
    for image, cell in zip(ours[:2000], cells, strict=False):
        np.testing.assert_array_equal(image, encode(*cell))


def test_places_and_flips_are_uniform_and_independent(cells):
    """All 162 outcomes are as likely."""
    assert (cells.min(0).tolist(), cells.max(0).tolist()) == ([0, 0, 0], [8, 8, 1])
    assert stats.chisquare(count(cells)).pvalue > 0.01


def test_the_distribution_is_that_of_the_pipeline_per_image(cells):
    np.random.seed(0)
    theirs = np.array([decode(image) for image in augment_one_by_one(8000)])
    table = np.stack([count(cells), count(theirs)])
    assert stats.chi2_contingency(table).pvalue > 0.01


@pytest.mark.parametrize('apart', [1, 2, 64])
def test_images_do_not_depend_on_each_other(cells, apart):
    """Neither neighbours in a batch, nor images at the same place of two batches."""
    first, second = cells[:-apart], cells[apart:]
    for axis, values in enumerate(CELLS):
        # Disjoint pairs, since overlapping ones are no independent sample.
        start = (np.arange(len(first)) // apart) % 2 == 0
        table = np.zeros((values, values))
        np.add.at(table, (first[start, axis], second[start, axis]), 1)
        assert stats.chi2_contingency(table).pvalue > 0.001, axis


@pytest.mark.parametrize(
    'transform',
    [
        RandomCrop(crop_size=(5, 7)),
        RandomCrop(crop_size=6, padding=(1, 2), pad_val=9),
        RandomCrop(crop_size=6, padding=(0, 1, 2, 3)),
        RandomCrop(crop_size=8),
        RandomCrop(crop_size=(12, 4)),
        RandomFlip(prob=0.5, direction='vertical'),
        RandomFlip(prob=0.5, direction='diagonal'),
        RandomFlip(prob=1.0),
        RandomFlip(prob=0.0),
    ],
    ids=str,
)
def test_other_settings_make_the_same_set_of_images(transform):
    """All outcomes, of which there are 35 at most, from 8 x 8 pixels."""
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    np.random.seed(0)
    theirs = [transform(dict(img=image))['img'].reshape(-1) for _ in range(400)]
    images = torch.from_numpy(image).permute(2, 0, 1).expand(400, -1, -1, -1)
    made = to_batch_transform(transform, 'pipeline')(images)
    shape = transform(dict(img=image))['img'].shape[:2]
    assert made.shape == (400, 1, *shape)
    assert made.dtype == torch.uint8
    assert {x.tobytes() for x in made.numpy()} == {x.tobytes() for x in theirs}


def test_numbers_that_are_given_choose_the_place_and_the_flip():
    """Of images that are not square: three places for a row, six for a column."""
    images = torch.arange(3 * 35).view(3, 1, 5, 7)
    uniform = torch.tensor([[0.0, 0.0], [0.99, 0.99], [0.4, 0.9]])
    crops = random_crop(images, (3, 2), uniform=uniform)
    for crop, image, (row, column) in zip(crops, images, [(0, 0), (2, 5), (1, 5)], strict=True):
        assert torch.equal(crop, image[:, row : row + 3, column : column + 2])
    flipped = random_flip(images, 0.4, uniform=uniform)
    assert torch.equal(flipped, torch.cat([images[:1].flip(3), images[1:]]))


class OtherFlip(RandomFlip):
    pass


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (OtherFlip(prob=0.5), "=OtherFlip.*, expected mmpretrain's RandomCrop or RandomFlip"),
        (RandomFlip(prob=0.5, direction=['vertical']), r'=RandomFlip\(.*one direction'),
        (RandomFlip(prob=[0.5], direction=['vertical']), r'=RandomFlip\(.*one probability'),
        (RandomCrop(8, padding=1, pad_val=(1, 2, 3)), r'=RandomCrop\(.*with one number'),
        (RandomCrop(8, pad_if_needed=True), r'=RandomCrop\(.*not only if needed'),
        (RandomCrop(8, padding_mode='edge'), r'=RandomCrop\(.*with one number'),
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(transform, message):
    with pytest.raises(ValueError, match=rf'pipeline\[0\]{message}'):
        to_batch_transform(transform, 'pipeline[0]')

import contextlib
import itertools
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmpretrain.registry import DATASETS
from torch.utils.data import DataLoader

from skd_mmrazor.datasets.augmentation_seed import (
    VIEW,
    AugmentationSeed,
    seed_augmentation,
    seeded,
    unseed_augmentation,
)

CROP = dict(type='RandomCrop', crop_size=8, padding=2)
FLIP = dict(type='RandomFlip', prob=0.5, direction='horizontal')
PACK = dict(type='PackInputs')


def add_noise(data):
    """Draws from the generators that crop and flip do not use."""
    noise = torch.randint(50, (8, 8)).numpy() + random.randrange(50)
    return dict(data, img=(data['img'] // 2 + noise).astype(np.uint8))


def dataset(seed, in_memory=False, indices=40):
    if in_memory:
        cfg = dict(type='skd_mmrazor.Digits', indices=indices, pipeline=[CROP, FLIP, PACK])
        cfg = dict(type='skd_mmrazor.InMemoryDataset', dataset=cfg, device='cpu')
    else:
        pipeline = [CROP, FLIP, add_noise, PACK]
        cfg = dict(type='skd_mmrazor.Digits', indices=indices, pipeline=pipeline)
    found = DATASETS.build(cfg)
    seed_augmentation(found, seed, 'dataset')
    return found


def images(found, order, workers=0, batch_size=7, persistent=False, views=(0,), seed=None):
    """By view and image; what a loader gives, in whichever order."""

    def collate(batch):
        batches = hasattr(batch, 'keys')
        inputs = batch['inputs'] if batches else [sample['inputs'] for sample in batch]
        samples = batch['data_samples'] if batches else [s['data_samples'] for s in batch]
        return [
            (s.get(VIEW), s.sample_idx, image) for s, image in zip(samples, inputs, strict=True)
        ]

    loader = DataLoader(
        found,
        batch_size=batch_size,
        sampler=order,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=persistent,
    )
    result = {}
    for view in views:
        seed.view = view
        for batch in loader:
            result.update({(v, i): image for v, i, image in batch})
    return result


def assert_equal(a, b):
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def share_that_differs(a, b):
    return np.mean([not torch.equal(a[key], b[key]) for key in a])


@pytest.mark.parametrize('in_memory', [False, True])
def test_an_image_is_the_same_whoever_makes_it_and_when(in_memory):
    seed = AugmentationSeed(3)
    views = (0, 5)
    plain = images(dataset(seed, in_memory), range(40), views=views, seed=seed)
    assert sorted(plain) == [(view, i) for view in views for i in range(40)]
    order = np.random.RandomState(1).permutation(40).tolist()
    others = [
        dict(order=order, batch_size=11),
        dict(order=order, workers=2),
        # The view reaches workers that live on.
        dict(order=range(39, -1, -1), workers=1, persistent=True),
    ]
    for other in others:
        torch.manual_seed(5)
        np.random.seed(6)
        random.seed(7)
        assert_equal(images(dataset(seed, in_memory), **other, views=views, seed=seed), plain)


@pytest.mark.parametrize('in_memory', [False, True])
def test_views_seeds_and_images_differ(in_memory):
    seed, other = AugmentationSeed(3), AugmentationSeed(4)
    found = dataset(seed, in_memory)
    first, second = (images(found, range(40), views=[v], seed=seed) for v in (0, 1))
    assert share_that_differs(first, {(0, i): image for (_, i), image in second.items()}) > 0.8
    theirs = images(dataset(other, in_memory), range(40), seed=other)
    assert share_that_differs(first, theirs) > 0.8
    # One picture, listed forty times.
    alike = images(dataset(seed, in_memory, [0] * 40), range(40), seed=seed)
    assert len({image.numpy().tobytes() for image in alike.values()}) > 15


def test_a_batch_in_memory_is_cropped_at_all_places_alike():
    numbers = AugmentationSeed(0).get_uniform(0, 0, 10_000)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = (numbers * 5).long().flatten().bincount()
    assert (counts > 3800).all()
    assert len(counts) == 5


def test_each_transform_view_and_seed_draws_other_numbers_for_a_batch():
    drawn = [
        AugmentationSeed(seed).get_uniform(view, transform, 4)
        for seed, view, transform in itertools.product(range(2), repeat=3)
    ]
    assert len(torch.stack(drawn).unique()) == 8 * 4 * 2


def test_the_generators_of_the_run_are_left_alone():
    seed = AugmentationSeed(0)
    found = dataset(seed)
    draw = lambda: (random.random(), np.random.rand(), torch.rand(()).item())  # noqa: E731
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(1)
    expected = draw()
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(1)
    found[3]
    assert draw() == expected
    with seeded(1, 2):
        first = draw()
    with seeded(1, 2):
        with seeded(3):
            assert draw() != first
        assert draw() == first, 'whatever is drawn within'
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(1)
    with contextlib.suppress(OSError), seeded(1):
        raise OSError(f'an image that cannot be read, after {draw()}')
    assert draw() == expected


@pytest.mark.parametrize('in_memory', [False, True])
def test_it_can_be_undone(in_memory):
    seed = AugmentationSeed(0)
    found = dataset(seed, in_memory)
    make = (lambda: found.__getitems__([3])) if in_memory else (lambda: found[3])
    get_samples = lambda made: made['data_samples'][0] if in_memory else made['data_samples']  # noqa: E731
    assert VIEW in get_samples(make())
    unseed_augmentation(found)
    unseed_augmentation(found)  # Of one that is not seeded, there is nothing to undo.
    assert VIEW not in get_samples(make())
    draws = [make()['inputs'] for _ in range(8)]
    assert any(not torch.equal(draws[0], draw) for draw in draws)


def test_for_an_image_that_the_pipeline_refuses_another_is_taken():
    found = dataset(AugmentationSeed(0))
    found.pipeline.transforms.insert(0, lambda data: data if data['sample_idx'] % 2 else None)
    assert found[4]['data_samples'].sample_idx % 2 == 1


def test_other_data_sets_are_refused():
    cfg = dict(type='skd_mmrazor.Digits', indices=4, pipeline=[PACK])
    repeated = RepeatDataset(DATASETS.build(cfg), times=2)
    with pytest.raises(ValueError, match=r"dataset.type='RepeatDataset', expected a BaseDataset"):
        seed_augmentation(repeated, AugmentationSeed(0), 'dataset')
    for pipeline in ([], [FLIP]):
        found = DATASETS.build(dict(cfg, pipeline=pipeline))
        with pytest.raises(ValueError, match=r'dataset.pipeline\[-1\]=.*, expected one that packs'):
            seed_augmentation(found, AugmentationSeed(0), 'dataset')

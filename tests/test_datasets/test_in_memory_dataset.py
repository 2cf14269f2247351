"""Batches of images in memory are those of the pipeline per image, and made on the device."""

import itertools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, MODELS

from skd_mmrazor.datasets import glyph_images

from ..conftest import ROOT, run_python
from ..digits_runs import assert_same_state, digits, load
from .in_memory import CROP, PACK, UNCHANGED, build_loader, few_digits, in_memory

CONFIGS = ROOT / 'configs/_base_/datasets'


@pytest.fixture
def glyphs(monkeypatch, tmp_path):
    """The configs of both pipelines, on a few images."""
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=2, test=1))
    cfgs = [
        Config.fromfile(CONFIGS / f'{name}_bs64.py') for name in ('glyph100', 'glyph100_in_memory')
    ]
    for cfg in cfgs:
        for loader in (cfg.train_dataloader, cfg.val_dataloader):
            loader.update(num_workers=0, batch_size=48)
            dataset = loader.dataset.get('dataset', loader.dataset)
            dataset.data_root = str(tmp_path)
    return cfgs


def processed(cfg, loader, training=False):
    """All batches, as the model gets them: images, labels, numbers of images."""
    prepare = MODELS.build(cfg.data_preprocessor)
    for batch in build_loader(cfg[loader]):
        data = prepare(batch, training=training)
        samples = data['data_samples']
        labels = torch.cat([sample.gt_label for sample in samples])
        yield data['inputs'], labels, [sample.sample_idx for sample in samples]


def test_validation_batches_equal_those_of_the_pipeline_per_image(glyphs):
    count = 0
    for theirs, ours in zip(*(processed(cfg, 'val_dataloader') for cfg in glyphs), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
        assert ours[2] == theirs[2]
        count += len(ours[2])
    assert count == 100


def test_training_batches_hold_the_same_images_in_the_same_order(glyphs):
    for theirs, ours in zip(
        *(processed(cfg, 'train_dataloader', training=True) for cfg in glyphs), strict=True
    ):
        assert torch.equal(ours[1], theirs[1])
        assert ours[2] == theirs[2]
        assert ours[2] != sorted(ours[2])
        # Other crops of the same images.
        assert ours[0].shape == theirs[0].shape
        assert not torch.equal(ours[0], theirs[0])


def test_augmented_images_are_normalised_bitwise_as_single_ones(glyphs):
    cfg = glyphs[1]
    prepare = MODELS.build(cfg.data_preprocessor)
    batch = next(iter(build_loader(cfg.train_dataloader)))
    assert batch['inputs'].dtype == torch.uint8
    single = dict(batch, inputs=list(batch['inputs']))
    ours, theirs = (prepare(data, training=True)['inputs'] for data in (batch, single))
    assert torch.equal(ours, theirs)
    black = (0 - prepare.mean) / prepare.std
    # A crop that is not in the middle has a corner of padding.
    corners = ours[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == black.view(1, 3, 1)).all(1).any(1).float().mean() > 0.9


def test_indices_of_the_wrapped_dataset_are_respected():
    whole = DATASETS.build(dict(type='skd_mmrazor.Digits', pipeline=[PACK]))
    wrapped = in_memory(few_digits() | dict(indices=[7, 3, 500]))
    assert len(wrapped) == 3
    batch = wrapped.__getitems__([2, 0])
    assert torch.equal(batch['inputs'].cpu(), torch.stack([whole[i]['inputs'] for i in (500, 7)]))
    labels = [sample.gt_label.item() for sample in batch['data_samples']]
    assert labels == [whole[i]['data_samples'].gt_label.item() for i in (500, 7)]
    assert wrapped.metainfo == whole.metainfo


def test_a_single_sample_is_that_of_the_wrapped_dataset():
    wrapped = in_memory(few_digits(CROP))
    np.random.seed(0)
    ours = wrapped[4]
    np.random.seed(0)
    theirs = wrapped.dataset[4]
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert dict(ours['data_samples'].all_items()) == dict(theirs['data_samples'].all_items())


def test_a_batch_does_not_share_memory_with_the_images():
    """A model that changes its input, or a label, does not change later epochs."""
    wrapped = in_memory(few_digits())
    first = wrapped.__getitems__([0, 1])
    expected = first['inputs'].clone(), first['data_samples'][0].gt_label.clone()
    first['inputs'].zero_()
    first['data_samples'][0].gt_label.fill_(-1)
    again = wrapped.__getitems__([0, 1])
    assert torch.equal(again['inputs'], expected[0])
    assert torch.equal(again['data_samples'][0].gt_label, expected[1])


@pytest.mark.parametrize('num_workers', [0, 2])
def test_batches_are_made_on_the_device_and_by_workers_on_the_cpu(num_workers):
    """The meta device refuses operations on tensors of two devices, as a GPU does."""
    flip = dict(type='RandomFlip', prob=0.5)
    dataset = dict(
        type='skd_mmrazor.InMemoryDataset', dataset=few_digits(CROP, flip), device='meta'
    )
    sampler = dict(type='DefaultSampler', shuffle=True)
    cfg = dict(dataset=dataset, sampler=sampler, batch_size=8, num_workers=num_workers)
    batches = list(build_loader(dict(cfg, collate_fn=UNCHANGED)))
    assert [len(batch['inputs']) for batch in batches] == [8, 8, 4]
    device = 'cpu' if num_workers else 'meta'
    assert {batch['inputs'].device.type for batch in batches} == {device}


def test_images_are_read_when_they_are_first_needed():
    wrapped = in_memory(few_digits(lazy_init=True), lazy_init=True)
    assert not wrapped.dataset._fully_initialized
    assert wrapped.metainfo['classes'][1] == '1'
    assert len(wrapped.__getitems__([0, 5])['inputs']) == 2
    assert len(wrapped) == 20


class Record(Hook):
    """Notes the images of every epoch."""

    def __init__(self):
        self.epochs = []

    def before_train_epoch(self, runner):
        self.epochs.append([])

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.epochs[-1].append(data_batch['inputs'].clone())


def train(work_dir, num_workers, **options):
    """Trains with SKD on the digits in memory; returns the images of every epoch."""
    cfg = digits(work_dir, **options)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset = dict(type='skd_mmrazor.InMemoryDataset', dataset=loader.dataset)
        loader.update(collate_fn=UNCHANGED, num_workers=num_workers)
    cfg.train_dataloader.sampler.shuffle = False
    runner = Runner.from_cfg(cfg)
    record = Record()
    runner.register_hook(record)
    runner.train()
    assert 'train/distill.lam' in runner.message_hub.log_scalars
    return [torch.cat(images) for images in record.epochs]


@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_with_skd_draws_anew_each_epoch_and_resumes_bitwise(tmp_path, num_workers):
    first, second = train(tmp_path / 'whole', num_workers)
    # Two random flips of one image agree half the time.
    assert (first != second).flatten(1).any(1).float().mean() > 0.5
    checkpoint = str(tmp_path / 'whole/epoch_1.pth')
    (resumed,) = train(tmp_path / 'parts', num_workers, load_from=checkpoint, resume=True)
    assert torch.equal(resumed, second)
    assert_same_state(load(tmp_path / 'whole', 2), load(tmp_path / 'parts', 2))


@pytest.mark.slow
def test_two_processes_see_disjoint_halves(tmp_path):
    run_python(
        *('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2'),
        *('-m', 'tests.test_datasets.two_processes', tmp_path),
    )
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in (0, 1)]
    for epoch in (0, 1):
        numbers = [rank['numbers'][epoch] for rank in ranks]
        assert [len(n) for n in numbers] == [10, 10]
        assert sorted(itertools.chain(*numbers)) == list(range(20))
    assert ranks[0]['numbers'][0] != ranks[0]['numbers'][1]
    # With diff_rank_seed the processes crop in ways of their own.
    assert ranks[0]['drawn'] != ranks[1]['drawn']

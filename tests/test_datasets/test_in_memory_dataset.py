import copy
import itertools

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS, MODELS

from skd_mmrazor.datasets import glyph_images

from ..conftest import ROOT, run_python
from ..digits_runs import assert_same_state, digits, load

CONFIGS = ROOT / 'configs/_base_/datasets'
UNCHANGED = dict(type='torch.utils.data.default_convert')
PACK = dict(type='PackInputs')
CROP = dict(type='RandomCrop', crop_size=8, padding=1)


def in_memory(dataset, **arguments):
    return DATASETS.build(dict(type='InMemoryDataset', dataset=dataset, **arguments))


def few_digits(*pipeline, **arguments):
    return dict(type='Digits', indices=20, pipeline=[*pipeline, PACK], **arguments)


def build_loader(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return Runner.build_dataloader(copy.deepcopy(cfg), seed=3)


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
    whole = DATASETS.build(dict(type='Digits', pipeline=[PACK]))
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
    dataset = dict(type='InMemoryDataset', dataset=few_digits(CROP, flip), device='meta')
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
        loader.dataset = dict(type='InMemoryDataset', dataset=loader.dataset)
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


@DATASETS.register_module(force=True)
class GivenSamples(BaseDataset):
    """Samples that a test made."""

    def __init__(self, samples, **arguments):
        self.samples = samples
        super().__init__(ann_file='', pipeline=[PACK], **arguments)

    def load_data_list(self):
        return self.samples


def image(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        (
            [dict(img=image(8, 8, 3), gt_label=0), dict(img=image(8, 9, 3), gt_label=0)],
            r'shape of the img of sample 1=\(3, 8, 9\), expected \(3, 8, 8\), as that of sample 0',
        ),
        (
            [dict(img=image(8, 8), gt_label=0), dict(img=image(8, 8, dtype=float), gt_label=0)],
            r'dtype of the img of sample 1=torch.float64, expected torch.uint8',
        ),
        ([dict(gt_label=0)], 'dtype of the img of sample 0=None, expected torch.uint8'),
        ([dict(img=image(8, 8))], 'labels of sample 0={}, expected gt_label alone'),
        ([dict(img=image(8, 8), gt_label=[1, 2])], r'tensor\(\[1, 2\]\)}, expected gt_label alone'),
        (
            [dict(img=image(8, 8), gt_label=1, gt_score=np.ones(2))],
            r"'gt_score': .*, expected gt_label alone",
        ),
        ([], r'len\(InMemoryDataset: dataset\)=0, expected at least 1'),
    ],
    ids=['size', 'dtype', 'no image', 'no label', 'two labels', 'score', 'nothing'],
)
def test_samples_that_no_tensor_holds_are_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        in_memory(dict(type='GivenSamples', samples=samples, serialize_data=False))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(dataset=[1]), r'InMemoryDataset: dataset=\[1\], expected a BaseDataset'),
        (
            dict(dataset=dict(type='Digits')),
            r"dataset.pipeline\[-1\]=None, expected mmpretrain's PackInputs",
        ),
        (
            dict(dataset=dict(type='Digits', pipeline=[CROP])),
            r"dataset.pipeline\[-1\]=RandomCrop.*, expected mmpretrain's PackInputs",
        ),
        (
            dict(dataset=dict(type='Digits', pipeline=[dict(PACK, algorithm_keys=['a'])])),
            r'dataset.pipeline\[-1\]=PackInputs.*without algorithm_keys',
        ),
        (
            dict(dataset=few_digits(CROP, dict(type='Resize', scale=9))),
            r"dataset.pipeline\[1\]=Resize.*, expected mmpretrain's RandomCrop or RandomFlip",
        ),
        (
            dict(dataset=few_digits(), device='gpu'),
            "InMemoryDataset: device='gpu', expected a device",
        ),
    ],
    ids=['dataset', 'no pipeline', 'not packed', 'packed otherwise', 'transform', 'device'],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        in_memory(**arguments)


def test_a_missing_collate_function_is_named():
    sampler = dict(type='DefaultSampler', shuffle=True)
    dataset = dict(type='InMemoryDataset', dataset=few_digits())
    loader = build_loader(dict(dataset=dataset, sampler=sampler, batch_size=8, num_workers=0))
    with pytest.raises(KeyError, match=r'collate_fn .* expected .*torch.utils.data.default_conv'):
        next(iter(loader))
    with pytest.raises(KeyError, match=r"^'gt_labels'$"):
        loader.dataset.__getitems__([0])['gt_labels']

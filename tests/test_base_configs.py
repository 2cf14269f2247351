"""The data sets and the schedules that experiments build on."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import MultiStepLR
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from skd_mmrazor.datasets import glyph_images

from .conftest import ROOT, classifier

BASES = ROOT / 'configs/_base_'
SCHEDULE = BASES / 'schedules/cifar100_240e.py'


def data(name):
    return Config.fromfile(BASES / f'datasets/{name}_bs64.py')


def experiment(tmp_path, *lines, name='glyph100'):
    """A config file on these bases, and its own lines."""
    path = tmp_path / 'experiment.py'
    bases = [f'{BASES}/datasets/{name}_bs64.py', str(SCHEDULE)]
    path.write_text('\n'.join([f'_base_ = {bases}', *lines]))
    return Config.fromfile(path)


def flatten(cfg, prefix=''):
    items = cfg.items() if isinstance(cfg, dict) else enumerate(cfg)
    for key, value in items:
        if isinstance(value, (dict, list)):
            yield from flatten(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def test_cifar100_is_read_as_in_the_literature():
    cfg = data('cifar100')
    assert cfg.train_dataloader.batch_size == 64
    dataset = cfg.train_dataloader.dataset
    assert (dataset.type, dataset.split) == ('CIFAR100', 'train')
    crop, flip, pack = dataset.pipeline
    assert crop == dict(type='RandomCrop', crop_size=32, padding=4)
    assert (flip.type, flip.prob, pack.type) == ('RandomFlip', 0.5, 'PackInputs')
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert (loader.dataset.type, loader.dataset.split) == ('CIFAR100', 'test')
        assert [transform.type for transform in loader.dataset.pipeline] == ['PackInputs']
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert (evaluator.type, evaluator.topk) == ('Accuracy', (1, 5))
    preprocessor = cfg.data_preprocessor
    mean, std = np.array(preprocessor.mean) / 255, np.array(preprocessor.std) / 255
    np.testing.assert_allclose(mean, [0.5071, 0.4867, 0.4408], atol=2e-4)
    np.testing.assert_allclose(std, [0.2675, 0.2565, 0.2761], atol=2e-4)
    assert (preprocessor.num_classes, preprocessor.to_rgb) == (100, False)


def test_glyph100_differs_in_the_data_alone():
    cifar, glyph = (dict(flatten(data(name).to_dict())) for name in ('cifar100', 'glyph100'))
    changed = {key for key in cifar if glyph[key] != cifar[key]}
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    assert changed == {
        'dataset_type',
        *(f'data_preprocessor.{key}.{i}' for key in ('mean', 'std') for i in range(3)),
        *(f'{name}.dataset.{key}' for name in loaders for key in ('type', 'data_root')),
    }


@pytest.mark.parametrize('name', ['cifar100', 'glyph100'])
def test_data_in_memory_differ_in_the_reading_alone(name):
    """The images and the augmentation are written once, in the base."""
    per_image, in_memory = (data(n).to_dict() for n in (name, f'{name}_in_memory'))
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        changed = in_memory[loader]
        wrapper = changed.pop('dataset')
        assert wrapper.pop('type') == 'skd_mmrazor.InMemoryDataset'
        assert wrapper == dict(dataset=per_image[loader].pop('dataset'))
        assert changed.pop('collate_fn') == dict(type='torch.utils.data.default_convert')
        assert (changed.pop('num_workers'), per_image[loader].pop('num_workers')) == (0, 2)
    assert in_memory == per_image


DATASETS = ['cifar100', 'glyph100', 'cifar100_in_memory', 'glyph100_in_memory']
# One of each of configs/_base_/methods, and a network by itself.
EXPERIMENTS = [
    *sorted((ROOT / 'configs/cifar100').glob('[!s]*_resnet32x4_resnet8x4_*.py')),
    ROOT / 'configs/cifar100/resnet8x4_240e_cifar100.py',
]


@pytest.mark.parametrize('name', DATASETS)
@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_takes_every_data_set(monkeypatch, path, name):
    monkeypatch.setenv('CIFAR100_DATASET', name)
    cfg = Config.fromfile(path)
    types = [dataset.type for dataset in datasets(cfg.train_dataloader.dataset)]
    assert types[-1].split('.')[-1].lower() == name.removesuffix('_in_memory')
    # CRD packs its images one by one.
    crd, in_memory = path.stem.startswith('crd'), name.endswith('_in_memory')
    assert types[:-1] == (['CRDDataset'] if crd else ['skd_mmrazor.InMemoryDataset'] * in_memory)
    assert cfg.custom_imports.imports == ['skd_mmrazor']


def datasets(cfg):
    while cfg:
        yield cfg
        cfg = cfg.get('dataset')


def test_glyph100_is_normalised_by_its_own_numbers(monkeypatch):
    monkeypatch.setitem(glyph_images.PER_CLASS, 'train', 20)
    images = glyph_images.draw_images('train')
    cfg = data('glyph100').data_preprocessor
    np.testing.assert_allclose(images.mean((0, 1, 2)), cfg.mean, atol=1)
    np.testing.assert_allclose(images.std((0, 1, 2)), cfg.std, atol=1)


def learning_rates(cfg):
    """The learning rate of each epoch, by mmengine's own scheduler."""
    optim = dict(cfg.optim_wrapper.optimizer)
    assert optim.pop('type') == 'SGD'
    assert (optim['momentum'], optim['weight_decay']) == (0.9, 5e-4)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], **optim)
    schedule = dict(cfg.param_scheduler)
    assert schedule.pop('type') == 'MultiStepLR'
    assert schedule.pop('by_epoch')
    scheduler = MultiStepLR(optimizer, **schedule)
    rates = []
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def test_the_schedule_is_that_of_the_literature(tmp_path):
    expected = [0.05] * 150 + [0.005] * 30 + [0.0005] * 30 + [0.00005] * 30
    np.testing.assert_allclose(learning_rates(experiment(tmp_path)), expected)


def test_one_line_sets_the_learning_rate(tmp_path):
    cfg = experiment(tmp_path, 'optim_wrapper = dict(optimizer=dict(lr=0.01))')
    assert learning_rates(cfg)[[0, 149, 150]] == pytest.approx([0.01, 0.01, 0.001])


def test_one_variable_scales_the_schedule_and_what_depends_on_it(tmp_path, monkeypatch):
    monkeypatch.setenv('CIFAR100_EPOCHS', '24')
    cfg = experiment(tmp_path, 'warmup = _base_.epochs // 12')
    expected = [0.05] * 15 + [0.005] * 3 + [0.0005] * 3 + [0.00005] * 3
    np.testing.assert_allclose(learning_rates(cfg), expected)
    assert cfg.warmup == 2
    student = ROOT / 'configs' / 'cifar100' / 'skd_kd_resnet32x4_resnet8x4_240e_cifar100.py'
    teacher = 'work_dirs/resnet32x4_240e_cifar100/epoch_24.pth'
    assert Config.fromfile(student).model.teacher_ckpt == teacher


@pytest.mark.parametrize('name', ['glyph100', 'glyph100_in_memory'])
def test_an_experiment_on_glyph100_trains(tmp_path, monkeypatch, name):
    monkeypatch.setenv('CIFAR100_EPOCHS', '1')
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=2, test=1))
    model = classifier(2, num_classes=100)
    model['backbone']['in_channels'] = 3
    cfg = experiment(tmp_path, f'model = {model}', name=name)
    cfg.work_dir = str(tmp_path / 'run')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        *_, dataset = datasets(loader.dataset)
        dataset.data_root = str(tmp_path / 'data')
        loader.num_workers = 0
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 4
    assert set(runner.test()) == {'accuracy/top1', 'accuracy/top5'}
    assert (tmp_path / 'run' / 'epoch_1.pth').exists()


@pytest.mark.parametrize('pair', ['resnet34_resnet18', 'deit-base_deit-tiny'])
def test_images_in_one_tensor_are_prepared_as_one_by_one(pair):
    """``default_collate`` of the ImageNet configs, against mmengine's default."""
    cfg = Config.fromfile(ROOT / f'configs/kd_{pair}_imagenet.py')
    preprocessor = {**cfg.get('data_preprocessor', {}), **cfg.model.get('data_preprocessor', {})}
    prepare = MODELS.build({'type': 'mmpretrain.ClsDataPreprocessor', **preprocessor})
    images = torch.randint(256, (4, 3, 224, 224), dtype=torch.uint8)
    samples = [dict(inputs=x, data_samples=DataSample().set_gt_label(3)) for x in images]
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        batch = FUNCTIONS.get(loader.collate_fn.type)(samples)
        assert batch['inputs'].shape == images.shape
        expected = prepare(pseudo_collate(samples))
        found = prepare(batch)
        assert torch.equal(found['inputs'], expected['inputs'])
        assert [s.gt_label for s in found['data_samples']] == [torch.tensor([3])] * 4

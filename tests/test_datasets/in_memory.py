"""A few digits in memory, and their data loader."""

import copy

from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS

UNCHANGED = dict(type='torch.utils.data.default_convert')
PACK = dict(type='PackInputs')
CROP = dict(type='RandomCrop', crop_size=8, padding=1)


def in_memory(dataset, **arguments):
    return DATASETS.build(dict(type='skd_mmrazor.InMemoryDataset', dataset=dataset, **arguments))


def few_digits(*pipeline, **arguments):
    return dict(type='skd_mmrazor.Digits', indices=20, pipeline=[*pipeline, PACK], **arguments)


def build_loader(cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return Runner.build_dataloader(copy.deepcopy(cfg), seed=3)

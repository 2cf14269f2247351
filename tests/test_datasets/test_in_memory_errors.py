"""Samples and arguments that a data set in memory cannot take are refused by name."""

import numpy as np
import pytest
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from .in_memory import CROP, PACK, build_loader, few_digits, in_memory


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
            dict(dataset=dict(type='skd_mmrazor.Digits')),
            r"dataset.pipeline\[-1\]=None, expected mmpretrain's PackInputs",
        ),
        (
            dict(dataset=dict(type='skd_mmrazor.Digits', pipeline=[CROP])),
            r"dataset.pipeline\[-1\]=RandomCrop.*, expected mmpretrain's PackInputs",
        ),
        (
            dict(
                dataset=dict(type='skd_mmrazor.Digits', pipeline=[dict(PACK, algorithm_keys=['a'])])
            ),
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
    dataset = dict(type='skd_mmrazor.InMemoryDataset', dataset=few_digits())
    loader = build_loader(dict(dataset=dataset, sampler=sampler, batch_size=8, num_workers=0))
    with pytest.raises(KeyError, match=r'collate_fn .* expected .*torch.utils.data.default_conv'):
        next(iter(loader))
    with pytest.raises(KeyError, match=r"^'gt_labels'$"):
        loader.dataset.__getitems__([0])['gt_labels']

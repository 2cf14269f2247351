import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from sklearn.datasets import load_digits


def test_the_splits_are_scikit_learns_digits():
    train, val = (
        DATASETS.build(dict(type='skd_mmrazor.Digits', split=s)) for s in ('train', 'val')
    )
    assert (len(train), len(val)) == (898, 899)
    digits = load_digits()
    samples = [*(train[i] for i in range(898)), *(val[i] for i in range(899))]
    assert [s['gt_label'] for s in samples] == digits.target.tolist()
    images = np.stack([s['img'] for s in samples])
    assert images.dtype == np.uint8
    np.testing.assert_allclose(images * (16 / 255), digits.images, atol=0.04)
    assert list(train.metainfo['classes']) == list('0123456789')


def test_the_preprocessors_numbers_are_those_of_the_training_images():
    from mmengine.config import Config

    cfg = Config.fromfile('configs/_base_/datasets/digits_bs32.py').data_preprocessor
    images = np.stack(
        [s['img'] for s in DATASETS.build(dict(type='skd_mmrazor.Digits', split='train'))]
    )
    assert images.mean() == pytest.approx(cfg.mean[0], abs=0.1)
    assert images.std() == pytest.approx(cfg.std[0], abs=0.1)


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match=r"Digits: split='test', expected 'train' or 'val'"):
        DATASETS.build(dict(type='skd_mmrazor.Digits', split='test'))

"""With the safeguards, an annotation file names no file elsewhere, and errors name its line.

Every hostile file is tried in the data set of ``configs/*imagenet.py``.
"""

import functools

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS

from .conftest import ROOT


@functools.cache
def imagenet_config():
    cfg = Config.fromfile(ROOT / 'configs' / 'skd_dkd_resnet34_resnet18_imagenet.py')
    return cfg.train_dataloader.dataset


def imagenet(folder, annotations, **arguments):
    (folder / 'meta').mkdir()
    (folder / 'train').mkdir()
    (folder / 'meta' / 'train.txt').write_bytes(annotations)
    cfg = dict(imagenet_config(), data_root=str(folder), pipeline=[], **arguments)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(cfg)


@pytest.mark.parametrize(
    'line',
    [
        *(b'../../../../etc/passwd 3', b'/etc/passwd 3', b'n01/../../../secret.jpg 3', b'.. 3'),
        *(b'x:http://127.0.0.1/a.jpg 3', b's3://bucket/a.jpg 3', b'file:///etc/passwd 3'),
        *(b'n01/a.jpg\0.png 3', b'\0 3', b'n01/a.jpg 3\0', b'\xff\xfe\x00 3'),
        *(b'n01/a.jpg cat', b'n01/a.jpg 3.0', b'n01/a.jpg 1_0', b'n01/a.jpg \xd9\xa3'),
        *(b'n01/a.jpg 1000', b'n01/a.jpg -1', b'n01/a.jpg ' + b'9' * 5000, b'n01/a.jpg 1e3'),
        *(b'n01/a.jpg', b'3', b'', b' ', b'n01/a.jpg\t3'),
    ],
)
def test_a_hostile_annotation_is_refused_by_file_and_line(tmp_path, line):
    with pytest.raises(ValueError, match=r'meta/train\.txt.*, expected ') as caught:
        imagenet(tmp_path, b'n01/a.jpg 3\n' + line + b'\nn01/b.jpg 4\n')
    if not isinstance(caught.value.__cause__, UnicodeDecodeError):
        assert 'line 2' in str(caught.value)
        assert 'and a label from 0 to 999.' in str(caught.value)


def test_an_empty_annotation_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'meta/train\.txt. is empty'):
        imagenet(tmp_path, b'')


def test_annotations_without_labels_stay_inside_too(tmp_path):
    with pytest.raises(ValueError, match=r"meta/train\.txt', line 1: '/etc/passwd'"):
        imagenet(tmp_path, b'/etc/passwd\n', with_label=False)
    (tmp_path / 'sound').mkdir()
    dataset = imagenet(tmp_path / 'sound', b'n01/a b.jpg\n', with_label=False)
    assert dataset.get_data_info(0)['img_path'] == str(tmp_path / 'sound/train/n01/a b.jpg')


def test_sound_annotations_are_taken(tmp_path):
    dataset = imagenet(tmp_path, b'n01/a..b.jpg 0\nn02/two words.JPEG 999\r\n')
    samples = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [s['gt_label'] for s in samples] == [0, 999]
    assert samples[1]['img_path'] == str(tmp_path / 'train' / 'n02' / 'two words.JPEG')


def test_without_a_folder_any_path_is_taken(tmp_path):
    """Of a list of one's own, which says where each image is."""
    (tmp_path / 'all.txt').write_text('/data/a.jpg 0\n../b.jpg 1\n')
    cfg = dict(type='CustomDataset', ann_file=str(tmp_path / 'all.txt'), pipeline=[])
    dataset = DATASETS.build(dict(cfg, metainfo=dict(classes=('cat', 'dog'))))
    assert [dataset.get_data_info(i)['img_path'] for i in (0, 1)] == ['/data/a.jpg', '../b.jpg']

import hashlib
import itertools
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import matplotlib
import numpy as np
import pytest
from matplotlib.ft2font import FT2Font
from mmpretrain.registry import DATASETS
from PIL import features

from skd_mmrazor.datasets import glyph_images

ALL_FONTS = [font for fonts in glyph_images.FONTS.values() for font in fonts]
DIGESTS = {
    ('train', 2): 'c02aa00c344ae952e5632e310299f36f871369e7e42ad2571c9311ab648c0e98',
    ('test', 2): '09019915dcd8c29667d1d71783c40386d4d4b1cc24cc0dc3c8744684aa7ae269',
    ('train', 500): '61ad4bd2123d05ef4425516899b75b896c37ba025b643f30cacc4558b154003b',
    ('test', 100): '641e4fb72822e554122910eb965f90fe7a14919713e932e7465da8400a488f01',
}
# The FreeType inside Pillow draws the fonts. Measured with Pillow 10.0 to 13.0,
# matplotlib 3.8 to 3.11 (whose fonts are the same) and NumPy 1.26 and 2.4.
MEASURED = ('2.13', '2.14')
FREETYPE = features.version('freetype2').rpartition('.')[0]


@pytest.fixture
def _few(monkeypatch):
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=3, test=2))


def build(folder, split='train', **arguments):
    cfg = dict(type='skd_mmrazor.Glyph100', data_root=str(folder), split=split, **arguments)
    return DATASETS.build(cfg)


@pytest.mark.skipif(FREETYPE not in MEASURED, reason='what this FreeType draws was not measured')
@pytest.mark.parametrize(
    ('split', 'per_class'),
    [pytest.param(*k, marks=pytest.mark.slow if k[1] > 2 else ()) for k in DIGESTS],
)
def test_every_machine_draws_the_same_images(monkeypatch, split, per_class):
    monkeypatch.setitem(glyph_images.PER_CLASS, split, per_class)
    images = glyph_images.draw_images(split)
    assert images.shape == (100 * per_class, 32, 32, 3)
    assert hashlib.sha256(images.tobytes()).hexdigest() == DIGESTS[split, per_class]


@pytest.mark.usefixtures('_few')
def test_samples_are_those_of_cifar100(tmp_path):
    """As mmpretrain's class makes them: uint8, height x width x colours."""
    train, test = build(tmp_path), build(tmp_path, 'test')
    assert (len(train), len(test)) == (300, 200)
    assert np.bincount(train.get_gt_labels()).tolist() == [3] * 100
    assert np.bincount(test.get_gt_labels()).tolist() == [2] * 100
    images = glyph_images.draw_images('train')
    assert images.dtype == np.uint8
    for index in (0, 137):
        assert train[index]['gt_label'] == index % 100
        assert type(train[index]['gt_label']) is int
        np.testing.assert_array_equal(train[index]['img'], images[index])
    assert (train.test_mode, test.test_mode) == (False, True)
    assert train.metainfo['classes'][:2] == ['0', '1']


def test_the_sizes_are_those_of_cifar100():
    assert sorted(glyph_images.PER_CLASS.items()) == [('test', 100), ('train', 500)]
    assert len(glyph_images.CLASSES) == len(set(glyph_images.CLASSES)) == 100


@pytest.mark.usefixtures('_few')
def test_images_are_kept_and_read_again(tmp_path):
    build(tmp_path / 'new')
    (file,) = (tmp_path / 'new').iterdir()
    changed = 255 - np.load(file)
    np.save(file, changed)
    np.testing.assert_array_equal(build(tmp_path / 'new')[5]['img'], changed[5])


@pytest.mark.usefixtures('_few')
def test_processes_that_save_at_once_do_not_disturb_each_other(tmp_path):
    start = threading.Barrier(4)

    def read(_):
        start.wait()
        return [sample['img'] for sample in build(tmp_path, lazy_init=True).load_data_list()]

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(read, range(4))
    for images in others:
        np.testing.assert_array_equal(images, first)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.usefixtures('_few')
def test_a_full_disk_leaves_no_half_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r'written|too large'):
            build(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())
    assert len(build(tmp_path)) == 300


def glyphs(font):
    """What a font draws: booleans, each character in the middle."""
    images = []
    for image in itertools.chain(*(glyph_images._render(c, [font]) for c in glyph_images.CLASSES)):
        left, _, right, _ = image.getbbox()
        images.append(np.roll(np.asarray(image) > 127, 32 - (left + right) // 2, axis=1))
    return np.stack(images)


def overlap(a, b):
    """Shared ink as a part of all ink, for every pair."""
    a, b = a.reshape(len(a), -1).astype(float), b.reshape(len(b), -1).astype(float)
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1) - shared)


@pytest.mark.parametrize('font', ALL_FONTS)
def test_no_two_classes_look_alike_in_a_font_or_its_mirror(font):
    """The mirror because configs flip images: a flipped b would be a d."""
    drawn = glyphs(font)
    others = ~np.eye(len(drawn), dtype=bool)
    mirrored = [np.roll(drawn[:, :, ::-1], x, axis=2) for x in (-1, 0, 1)]
    for other in (drawn, *mirrored):
        # Ш and Щ have 0.972 in common.
        assert overlap(drawn, other)[others].max() < 0.98


def test_no_font_lacks_a_character():
    """A font draws the same box for each character that it lacks."""
    for font in ALL_FONTS:
        drawn = [c for c in glyph_images.CLASSES if glyph_images._render(c, [font])]
        assert len(drawn) == (51 if font.startswith('cm') else 100)
        known = FT2Font(f'{matplotlib.get_data_path()}/fonts/ttf/{font}.ttf').get_charmap()
        assert not [c for c in drawn if ord(c) not in known], font


def test_the_fonts_of_the_test_are_new():
    train, test = (set(glyph_images.FONTS[split]) for split in ('train', 'test'))
    assert not train & test


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='val'), "Glyph100: split='val', expected 'train' or 'test'"),
        (dict(split=None), "Glyph100: split=None, expected 'train' or 'test'"),
        (dict(folder=''), "Glyph100: data_root='', expected a folder"),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**{'folder': tmp_path, **arguments})

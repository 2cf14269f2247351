"""Pictures of maps, with mmsegmentation's own data set and preprocessor."""

import numpy as np
import pytest
from mmengine.runner import Runner
from PIL import Image

from skd_mmrazor import visualization
from skd_mmrazor.engine.hooks import SimplifierVisualizationHook

from .test_runs import segmentation  # Skips where mmsegmentation is missing.

pytestmark = pytest.mark.dense


def build(root):
    cfg = segmentation(root / 'data')
    assert cfg.model.architecture.data_preprocessor.bgr_to_rgb
    cfg.update(custom_hooks=[], work_dir=str(root / 'run'), experiment_name=root.name)
    return Runner.from_cfg(cfg)


def test_red_stays_red(tmp_path):
    """Of the squares, which mmsegmentation loads in BGR and no class is drawn in."""
    SimplifierVisualizationHook(interval=1).after_train_iter(build(tmp_path))
    (path,) = tmp_path.glob('run/*/vis_data/vis_image/*.png')
    picture = np.asarray(Image.open(path))
    assert (picture == (220, 40, 40)).all(axis=-1).sum() > 100
    assert (picture == (40, 40, 220)).all(axis=-1).sum() == 0


def test_padding_is_drawn_so_that_a_map_lies_on_its_picture(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(visualization, 'draw_simplified_maps', lambda *a: drawn.extend(a[0]))
    runner = build(tmp_path)
    runner.model.data_preprocessor.test_cfg = dict(size_divisor=48)
    SimplifierVisualizationHook().before_train(runner)
    assert {image.shape for image in drawn} == {(96, 144, 3)}
    assert all(image[:64, :128].any() and not image[64:].any() for image in drawn)


def test_pictures_of_several_sizes_are_drawn_one_by_one_or_refused(tmp_path):
    runner = build(tmp_path)
    path = max((tmp_path / 'data' / 'leftImg8bit' / 'val').rglob('*.png'))
    Image.open(path).resize((64, 64)).save(path)
    message = r'SimplifierVisualizationHook: batch_size=2, expected .*: 1 where their sizes differ'
    with pytest.raises(ValueError, match=message):
        SimplifierVisualizationHook(batch_size=2).before_train(runner)
    SimplifierVisualizationHook(batch_size=1).before_train(runner)

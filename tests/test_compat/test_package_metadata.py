import copy
import os.path as osp
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import mmengine.utils
import mmpretrain
import pytest
from mmengine.config import config
from mmengine.hub import get_config, hub
from mmengine.runner import Runner

from skd_mmrazor.compat import package_metadata

from ..conftest import run_python

HAS_PKG_RESOURCES = find_spec('pkg_resources') is not None


def test_finds_packages():
    assert package_metadata.is_installed('mmpretrain')
    assert package_metadata.is_installed('opencv-python')
    assert not package_metadata.is_installed('no-such-package')
    path = package_metadata.get_installed_path('mmpretrain')
    assert path == osp.dirname(mmpretrain.__file__)
    with pytest.raises(PackageNotFoundError):
        package_metadata.get_installed_path('no-such-package')


def test_finds_a_module_of_another_name():
    import cv2

    path = package_metadata.get_installed_path('opencv-python')
    assert path == osp.dirname(cv2.__file__)


@pytest.mark.skipif(HAS_PKG_RESOURCES, reason='setuptools still has pkg_resources')
def test_mmengine_uses_them_where_pkg_resources_is_gone():
    assert mmengine.utils.is_installed is package_metadata.is_installed
    code = "from mmengine.utils import is_installed; is_installed('mmpretrain')"
    assert "No module named 'pkg_resources'" in run_python('-c', code, check=False, fresh=True)


def test_mmengine_keeps_its_own_where_pkg_resources_is_there(tmp_path):
    (tmp_path / 'pkg_resources.py').write_text('')
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import mmengine.utils
before = mmengine.utils.is_installed
import skd_mmrazor
assert mmengine.utils.is_installed is before
"""
    run_python('-c', code, fresh=True)


def test_a_config_of_another_package_resolves():
    assert get_config('mmpretrain::resnet/resnet18_8xb32_in1k.py').model.backbone.depth == 18


def test_the_old_name_of_faster_rcnn_finds_the_new_file():
    """Of mmdetection 2, in mmrazor's config; and no other name is changed."""
    folder = 'faster_rcnn/'
    for find in (config._get_package_and_cfg_path, hub._get_package_and_cfg_path):
        found = find(f'mmdet::{folder}faster_rcnn_r50_fpn_1x_coco.py')
        assert found == ('mmdet', f'{folder}faster-rcnn_r50_fpn_1x_coco.py')
        for name in ('faster-rcnn_r50_fpn_1x_coco.py', 'my_faster_rcnn_r50.py'):
            assert find(f'mmdet::{folder}{name}') == ('mmdet', f'{folder}{name}')


def test_the_config_of_a_data_loader_stays_as_the_user_wrote_it():
    cfg = dict(
        batch_size=2,
        dataset=[0, 1],
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate', _scope_='mmengine'),
    )
    before = copy.deepcopy(cfg)
    assert next(iter(Runner.build_dataloader(cfg))).tolist() == [0, 1]
    assert cfg == before

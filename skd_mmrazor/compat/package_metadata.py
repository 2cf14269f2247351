"""Where mmengine finds packages, without ``pkg_resources``.

mmengine 0.10 asks ``pkg_resources`` where a package is installed, whenever a
config names another package (``_base_ = 'mmpretrain::…'``). setuptools removed
that module in version 82, and a new virtual environment of Python 3.12 or later
has no setuptools at all.
"""

import copy
import os.path as osp
import re
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from mmengine.config.utils import MODULE2PACKAGE

from .patches import repairs

# By package: the prefixes of configs that were renamed, and the substitutions that give the
# new names. deit/deit-base_pt-16xb64_in1k.py became deit/deit-base_16xb64_in1k.py, for example.
_RENAMED: dict[str, tuple[tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    'mmpretrain': (
        ('deit/', 'vision_transformer/'),
        (('_[fp]t-', '_'), (r'-224\.py$', '.py'), (r'-384\.py$', '-384px.py')),
    ),
    'mmdet': (('faster_rcnn/',), (('/faster_rcnn_', '/faster-rcnn_'),)),
}


@repairs.adding_to('mmengine.config.utils.MODULE2PACKAGE (`skd_mmrazor`)')
def add_own_name() -> None:
    """Adds this package to those whose names may precede ``::``.

    Why: `skd_mmrazor::digits/….py` cannot be the base of a config.
    """
    MODULE2PACKAGE.setdefault('skd_mmrazor', 'skd_mmrazor')


@repairs.wrapping(
    'mmengine.config.config._get_package_and_cfg_path',
    'mmengine.hub.hub._get_package_and_cfg_path',
)
def find_configs(original: Callable, cfg_path: str) -> tuple[str, str]:
    """Finds configs outside of any folder, and renamed configs by their old names.

    Why: `skd_mmrazor::….py`, outside of any folder, cannot be the base of a config; and mmrazor's
    configs of DeiT and Faster R-CNN build on files that were renamed.
    """
    package, separator, path = cfg_path.partition('::')
    if package == 'skd_mmrazor' and separator and '/' not in path:
        return package, path
    package, path = original(cfg_path)
    starts, renamings = _RENAMED.get(package, ((), ()))
    for old, new in renamings if path.startswith(starts) else ():
        path = re.sub(old, new, path)
    return package, path


@repairs.wrapping(
    'mmengine.runner.Runner.build_dataloader',
    'mmengine.runner.FlexibleRunner.build_dataloader',
)
def leave_scope_out_of_collate_fn(
    original: Callable, dataloader: Any, *args: Any, **kwargs: Any
) -> Any:
    """Drops the ``_scope_`` that mmengine writes into a base of another package.

    Why: `collate_fn=dict(type='default_collate')` in a base of another package: `default_collate()
    got an unexpected keyword argument '_scope_'`.
    """
    if isinstance(dataloader, dict) and isinstance(dataloader.get('collate_fn'), dict):
        dataloader = copy.copy(dataloader)
        collate_fn = dataloader['collate_fn']
        dataloader['collate_fn'] = {k: v for k, v in collate_fn.items() if k != '_scope_'}
    return original(dataloader, *args, **kwargs)


@repairs.replacing(
    # mmengine's own modules hold these functions by name.
    'mmengine.utils.is_installed',
    'mmengine.utils.package_utils.is_installed',
    'mmengine.config.config.is_installed',
    'mmengine.utils.get_installed_path',
    'mmengine.utils.package_utils.get_installed_path',
    'mmengine.config.config.get_installed_path',
    'mmengine.hub.hub.get_installed_path',
    link='https://setuptools.pypa.io/en/stable/history.html#v82-0-0',
    needed=lambda: find_spec('pkg_resources') is None,
)
def answer_by_importlib(original: Callable) -> Callable:
    """Replaces it by the function of the same name in this module.

    Why: `No module named 'pkg_resources'` when a `package::config.py` is resolved, with setuptools
    ≥ 82 or none. The standard library answers.
    """
    return globals()[original.__name__]


def is_installed(package: str) -> bool:
    """Whether a package can be imported or is known to the installer.

    Args:
        package (str): Name of a distribution or of a module.
    """
    try:
        metadata.distribution(package)
        return True
    except metadata.PackageNotFoundError:
        spec = find_spec(package)
        return spec is not None and spec.origin is not None


def get_installed_path(package: str) -> str:
    """The folder in which a package is installed.

    Args:
        package (str): Name of a distribution or of a module.

    Returns:
        str: The folder of the module.

    Raises:
        PackageNotFoundError: The package is not installed.
    """
    # A module may differ from its distribution (mmcv of mmcv-lite), and an
    # editable install lies outside site-packages: only the import system knows.
    spec = find_spec(package)
    if spec is None:
        modules = metadata.distribution(package).read_text('top_level.txt') or package
        spec = find_spec(modules.split()[0])
    if spec is None or spec.origin is None:
        raise metadata.PackageNotFoundError(package)
    return osp.dirname(spec.origin)

"""mmengine's package look-ups without ``pkg_resources``.

mmengine 0.10 asks ``pkg_resources`` where a package is installed, whenever a
config names another package (``_base_ = 'mmpretrain::…'``). setuptools removed
that module in version 82, and a new virtual environment of Python 3.12 or later
has no setuptools at all.
https://setuptools.pypa.io/en/stable/history.html#v82-0-0
"""

import importlib
import os.path as osp
from importlib import metadata
from importlib.util import find_spec


def replace_pkg_resources() -> None:
    """Answers mmengine's look-ups from the standard library.

    Does nothing where ``pkg_resources`` can be imported.
    """
    if find_spec('pkg_resources') is not None:
        return
    ours = {
        'is_installed': is_installed,
        'get_installed_path': get_installed_path,
        'package2module': package2module,
    }
    # mmengine's own modules hold these functions by name.
    for holder in (
        'mmengine.utils.package_utils',
        'mmengine.utils',
        'mmengine.config.config',
        'mmengine.hub.hub',
    ):
        module = importlib.import_module(holder)
        for name, function in ours.items():
            if hasattr(module, name):
                setattr(module, name, function)


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
    """Where the module of a package lies.

    Args:
        package (str): Name of a distribution or of a module.

    Returns:
        str: The folder of the module.

    Raises:
        PackageNotFoundError: The package is not installed.
    """
    # A module may differ from its distribution (mmcv of mmcv-lite), and an
    # editable install lies outside site-packages: only the import system knows.
    spec = find_spec(package) or find_spec(package2module(package))
    if spec is None or spec.origin is None:
        raise metadata.PackageNotFoundError(package)
    return osp.dirname(spec.origin)


def package2module(package: str) -> str:
    """The first module that a distribution installs.

    Args:
        package (str): Name of a distribution.

    Raises:
        PackageNotFoundError: The distribution is not installed.
        ValueError: It does not say which modules it installs.
    """
    modules = metadata.distribution(package).read_text('top_level.txt')
    if not modules:
        raise ValueError(f'can not infer the module name of {package}')
    return modules.split()[0]

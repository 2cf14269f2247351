"""One clear error for a combination of packages that cannot work."""

import importlib

from packaging.specifiers import SpecifierSet

# Kept equal to ``dependencies`` in pyproject.toml by a test.
SUPPORTED = {
    'torch': '>=2.0',
    'mmengine': '>=0.10.5,<1.0',
    'mmcv': '>=2.0.0,<=2.1.0',
    'mmpretrain': '>=1.2,<2.0',
    'mmrazor': '>=1.0,<1.1',
}
_REMEDY = {
    'mmcv': "pip install 'mmcv-lite==2.1.0' (or the full mmcv 2.1.0, not both)",
    'mmengine': "pip install 'mmengine>=0.10.5'",
    'torchvision': 'install torch and torchvision together, from one index: '
    'pip install --force-reinstall torch torchvision',
}


def check_versions() -> None:
    """Checks every package that the plugin depends on.

    ``mmcv`` and ``mmcv-lite`` are two distributions of one module, so the
    imported module is asked for its version, not the installer.

    Raises:
        ImportError: One sentence that names the package, the version found,
            the versions that work and what to install.
    """
    # The last two check mmcv themselves when they are imported, with a less helpful
    # message, so mmcv is checked before them.
    for package in ('torch', 'torchvision', 'mmengine', 'mmcv', 'mmpretrain', 'mmrazor'):
        wanted, version = SUPPORTED.get(package, ''), _imported_version(package)
        if not SpecifierSet(wanted).contains(version, prereleases=True):
            raise ImportError(
                f'skd_mmrazor needs {package}{wanted}, but {package} {version} is installed: '
                f'{_remedy(package)}.'
            )


def _imported_version(package: str) -> str:
    try:
        return importlib.import_module(package).__version__
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f'skd_mmrazor needs {package}{SUPPORTED.get(package, "")}, which is not installed: '
            f'{_remedy(package)}.'
        ) from error
    except RuntimeError as error:
        # "operator torchvision::nms does not exist": torchvision was compiled
        # against another build of torch.
        # https://github.com/pytorch/pytorch/issues/122494
        raise ImportError(
            f'skd_mmrazor cannot import the installed {package} ({error}): {_remedy(package)}.'
        ) from error


def _remedy(package: str) -> str:
    return _REMEDY.get(package, f"pip install '{package}{SUPPORTED.get(package, '')}'")

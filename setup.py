"""Packaging, with the ``.mim`` files by which ``skd_mmrazor::`` configs resolve."""

import os
import os.path as osp
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).parent
MIM_FILES = ('configs', 'tools', 'model-index.yml')


def version() -> str:
    """Reads the version without importing the package."""
    namespace: dict = {}
    exec((ROOT / 'skd_mmrazor' / 'version.py').read_text(), namespace)
    return namespace['__version__']


class BuildWithMim(build_py):
    """Copies what mim looks for into the wheel."""

    def run(self) -> None:
        """Builds, then adds ``skd_mmrazor/.mim``."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / 'skd_mmrazor' / '.mim'
            for name in MIM_FILES:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy2
                target.mkdir(parents=True, exist_ok=True)
                if (target / name).is_dir():
                    shutil.rmtree(target / name)
                copy(source, target / name)
        else:
            link_mim_files()


class DevelopWithMim(develop):
    """Links what mim looks for into the checkout."""

    def run(self) -> None:
        """Links, then installs in place."""
        link_mim_files()
        super().run()


def link_mim_files() -> None:
    """Links ``skd_mmrazor/.mim`` to the files of the checkout."""
    target = ROOT / 'skd_mmrazor' / '.mim'
    target.mkdir(exist_ok=True)
    for name in MIM_FILES:
        link = target / name
        if not link.exists():
            link.unlink(missing_ok=True)
            os.symlink(osp.relpath(ROOT / name, target), link)


setup(
    name='skd-mmrazor',
    version=version(),
    description='Student-friendly Knowledge Distillation (SKD) as a plugin for MMRazor',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache License 2.0',
    packages=find_packages(include=['skd_mmrazor', 'skd_mmrazor.*']),
    # No packages: they are read, not imported.
    package_data={'skd_mmrazor': ['configs/**/*.py']},
    python_requires='>=3.10',
    # mmcv is in extras: mmcv and mmcv-lite are one module, and installing one
    # beside the other breaks both.
    install_requires=[
        'torch>=2.0',
        'torchvision',
        'mmengine>=0.10.5,<1.0',
        'mmpretrain>=1.2,<2.0',
        'mmrazor>=1.0,<1.1',
        # Their fonts and their drawing are Glyph100's.
        'matplotlib',
        'pillow>=9.1',
        'packaging',
        # mmrazor imports joblib without declaring it; the digits are inside
        # scikit-learn.
        'joblib',
        'scikit-learn',
    ],
    extras_require={
        'docs': ['sphinx', 'myst-parser', 'furo'],
        'onnx': ['onnx', 'onnxruntime'],
        'lite': ['mmcv-lite>=2.0.0,<=2.1.0'],
        'full': ['mmcv>=2.0.0,<=2.1.0'],
        # Pinned, so that a new release of a linter does not turn main red.
        # timm has the teacher of mmrazor's DeiT config.
        'tests': [
            'pytest',
            'pytest-xdist',
            'hypothesis',
            'onnx',
            'onnxruntime',
            'openmim',
            'tensorboard',
            'timm',
            'ruff==0.17.6',
            'mypy==2.4.1',
        ],
    },
    cmdclass={'build_py': BuildWithMim, 'develop': DevelopWithMim},
    zip_safe=False,
)

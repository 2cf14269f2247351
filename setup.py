"""The ``.mim`` files by which ``skd_mmrazor::`` configs resolve; the rest is in pyproject.toml."""

import os
import os.path as osp
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.develop import develop

ROOT = Path(__file__).parent
MIM_FILES = ('configs', 'tools', 'model-index.yml')


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


setup(cmdclass={'build_py': BuildWithMim, 'develop': DevelopWithMim})

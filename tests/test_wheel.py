"""The wheel, installed in a fresh environment, away from the repository."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from skd_mmrazor.version import __version__

from .conftest import ROOT

pytestmark = pytest.mark.slow


def run(*command, cwd):
    result = subprocess.run(
        [*map(str, command)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


@pytest.fixture(scope='module')
def python(tmp_path_factory):
    """An environment with the wheel, which borrows what it depends on from this one."""
    folder = tmp_path_factory.mktemp('wheel')
    # Without what is built or trained in a checkout.
    ignored = ('.*', 'build', 'data', '*.egg-info', 'work_dirs', 'tests')
    shutil.copytree(ROOT, folder / 'source', ignore=shutil.ignore_patterns(*ignored))
    pip = (sys.executable, '-m', 'pip')
    run(*pip, 'wheel', '--no-deps', '-w', 'dist', './source', cwd=folder)
    run(sys.executable, '-m', 'venv', 'fresh', cwd=folder)
    python = folder / 'fresh' / 'bin' / 'python'
    (site,) = (folder / 'fresh').glob('lib/*/site-packages')
    # Its own .pth files, such as this project's editable installation, are not read.
    (site / 'borrowed.pth').write_text(sysconfig.get_path('purelib'))
    # mim imports pkg_resources, which later ones do not have.
    run(python, '-m', 'pip', 'install', '-q', 'setuptools<81', cwd=folder)
    (wheel,) = (folder / 'dist').glob('*.whl')
    run(python, '-m', 'pip', 'install', '-q', '--no-deps', '--force-reinstall', wheel, cwd=folder)
    return python


def test_mim_trains_from_it(python, tmp_path):
    config = 'digits/resnet14-w16_60e_digits.py'
    command = (python, '-W', 'ignore', '-m', 'mim', 'train', 'skd_mmrazor', config, '-y')
    output = run(*command, '--cfg-options', 'train_cfg.max_epochs=1', cwd=tmp_path)
    assert 'Training finished successfully' in output
    assert list(tmp_path.glob('work_dirs/resnet14-w16_60e_digits/epoch_1.pth'))


def test_its_configs_are_bases_of_another_project(python, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = ['skd_mmrazor::digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py']\n"
    )
    script = (
        'import skd_mmrazor; from mmengine.config import Config; '
        "print(skd_mmrazor.__file__, Config.fromfile('mine.py').model.distiller.type)"
    )
    output = run(python, '-W', 'ignore', '-c', script, cwd=tmp_path)
    assert 'SKDDistiller' in output
    assert str(Path(python).parent.parent) in output


def test_its_python_style_configs_are_read_from_another_project(python, tmp_path):
    (tmp_path / 'mine.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        '    from skd_mmrazor.configs.digits.skd_kd_resnet14_w16_resnet10_w4_60e_digits import *\n'
    )
    script = (
        "from mmengine.config import Config; print(Config.fromfile('mine.py').model.distiller.type)"
    )
    output = run(python, '-W', 'ignore', '-c', script, cwd=tmp_path)
    assert "<class 'skd_mmrazor.models.distillers.skd_distiller.SKDDistiller'>" in output


def test_it_carries_what_mim_looks_for(python):
    (mim,) = python.parent.parent.glob('lib/*/site-packages/skd_mmrazor/.mim')
    assert (mim / 'model-index.yml').exists()
    assert (mim / 'tools' / 'dist_train.sh').exists()
    ours = {path.relative_to(ROOT) for path in (ROOT / 'configs').rglob('*.py')}
    assert ours == {path.relative_to(mim) for path in (mim / 'configs').rglob('*.py')}


def test_it_says_what_it_is(python, tmp_path):
    script = (
        'from importlib.metadata import metadata; found = metadata("skd-mmrazor"); '
        'print(*(found[key] for key in ("Version", "Requires-Python", "License-Expression")))'
    )
    assert run(python, '-c', script, cwd=tmp_path).split() == [__version__, '>=3.10', 'Apache-2.0']

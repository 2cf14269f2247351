"""The wheel, installed in a fresh environment, away from the repository."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from skd_mmrazor.version import __version__

from .conftest import ROOT, once_per_run
from .digits_runs import KD
from .test_tools.test_train import imagenet_options

pytestmark = pytest.mark.slow


def run(*command, cwd):
    result = subprocess.run(
        [*map(str, command)], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert result.returncode == 0, result.stdout[-4000:]
    return result.stdout


def install(folder):
    """Builds the wheel and an environment with it."""
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


@pytest.fixture(scope='module')
def python(tmp_path_factory):
    """An environment with the wheel, which borrows what it depends on from this one."""
    return once_per_run(tmp_path_factory, 'wheel', install) / 'fresh' / 'bin' / 'python'


def test_mim_trains_from_it(python, tmp_path):
    config = 'digits/resnet14-w16_60e_digits.py'
    command = (python, '-W', 'ignore', '-m', 'mim', 'train', 'skd_mmrazor', config, '-y')
    output = run(*command, '--cfg-options', 'train_cfg.max_epochs=1', cwd=tmp_path)
    assert 'Training finished successfully' in output
    assert list(tmp_path.glob('work_dirs/resnet14-w16_60e_digits/epoch_1.pth'))


PYTHON_STYLE = (
    'from mmengine.config import read_base\n'
    'with read_base():\n'
    '    from skd_mmrazor.configs.digits.skd_kd_resnet14_w16_resnet10_w4_60e_digits import *\n'
)


@pytest.mark.parametrize(
    'text',
    [
        pytest.param(f"_base_ = ['skd_mmrazor::digits/skd_{KD}.py']\n", id='external'),
        # In the quick run, test_python_style_configs.py trains such a config.
        pytest.param(PYTHON_STYLE, id='python style', marks=pytest.mark.nightly),
    ],
)
def test_a_config_of_another_project_trains_on_its_digits(python, tmp_path, text):
    (tmp_path / 'mine.py').write_text(text)
    options = ('model.teacher_ckpt=None', 'train_dataloader.dataset.indices=64')
    output = train(python, tmp_path, *options)
    assert re.search(r'Epoch\(val\) \[1\].* accuracy/top1: .* teacher\.accuracy/top1: ', output)


def test_a_config_of_another_project_trains_on_its_imagenet(python, tmp_path):
    """Which lies in no folder, and builds its networks from mmpretrain's configs."""
    name = 'skd_mmrazor::skd_kd_resnet34_resnet18_imagenet.py'
    (tmp_path / 'mine.py').write_text(f"_base_ = ['{name}']\n")
    output = train(python, tmp_path, *imagenet_options(tmp_path / 'imagenet'))
    assert re.search(r'Epoch\(val\) \[1\].* accuracy/top5: .* teacher\.accuracy/top1: ', output)


def train(python, cwd, *options):
    """Trains ``mine.py`` for an epoch by the tool that is in the wheel."""
    (tool,) = python.parent.parent.glob('lib/*/site-packages/skd_mmrazor/.mim/tools/train.py')
    options = ('--cfg-options', 'train_cfg.max_epochs=1', *options)
    return run(python, '-W', 'ignore', tool, 'mine.py', *options, cwd=cwd)


def test_mim_finds_the_configs_by_their_data_and_their_results(python, tmp_path):
    field = 'digits/top_1_accuracy'
    options = ('--dataset', 'digits', '--sort', field, '--field', field)
    found = run(
        python, '-W', 'ignore', '-m', 'mim', 'search', 'skd_mmrazor', *options, cwd=tmp_path
    )
    names, values = re.findall(r'config id: (\S+)', found), re.findall(rf'{field} +(\S+)', found)
    assert names[0] == 'resnet14-w16_60e_digits'
    assert names[-1] == 'resnet10-w4_60e_digits'
    assert len(names) == len(values) == 6
    assert values == sorted(values, reverse=True)


def test_it_carries_what_mim_looks_for(python):
    (mim,) = python.parent.parent.glob('lib/*/site-packages/skd_mmrazor/.mim')
    assert (mim / 'model-index.yml').exists()
    assert (mim / 'tools' / 'dist_train.sh').exists()
    # What it was built from: a checkout may have changed since.
    source = python.parents[2] / 'source'
    ours = {path.relative_to(source) for path in (source / 'configs').rglob('*.py')}
    assert Path(f'configs/digits/skd_{KD}.py') in ours
    assert ours == {path.relative_to(mim) for path in (mim / 'configs').rglob('*.py')}


def test_it_says_what_it_is(python, tmp_path):
    script = (
        'from importlib.metadata import metadata; found = metadata("skd-mmrazor"); '
        'print(*(found[key] for key in ("Version", "Requires-Python", "License-Expression")))'
    )
    assert run(python, '-c', script, cwd=tmp_path).split() == [__version__, '>=3.10', 'Apache-2.0']

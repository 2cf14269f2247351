"""The patches for mmrazor's main branch, on what its release installs of it.

``MMRAZOR_CHECKOUT=…`` takes a checkout of that branch instead.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mmrazor
import pytest

from upstream import layout, sources
from upstream.make_series import make_series

from .conftest import ROOT, run_python

CHECKOUT = os.environ.get('MMRAZOR_CHECKOUT')
# What an installation lacks.
NOT_INSTALLED = [] if CHECKOUT else ['--exclude=tests/*', '--exclude=README*', '--exclude=docs/*']
SKD_TESTS = 'tests/test_models/test_distillers/test_skd'


def copy_mmrazor(root):
    ignore = shutil.ignore_patterns('.git', '.mim', '__pycache__')
    if CHECKOUT:
        shutil.copytree(CHECKOUT, root, ignore=ignore)
        return
    package = Path(mmrazor.__file__).parent
    shutil.copytree(package, root / 'mmrazor', ignore=ignore)
    shutil.copytree(package / '.mim' / 'configs', root / 'configs')
    shutil.copy(package / '.mim' / 'model-index.yml', root)


def git_apply(root, *arguments):
    subprocess.run(['git', 'apply', *map(str, arguments)], cwd=root, check=True)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    root = tmp_path_factory.mktemp('checkout') / 'mmrazor'
    copy_mmrazor(root)
    subprocess.run(['git', 'init', '--quiet'], cwd=root, check=True)
    return root


@pytest.fixture(scope='module')
def series(checkout, tmp_path_factory):
    return make_series(checkout, tmp_path_factory.mktemp('series'), styled=False)


@pytest.fixture(scope='module')
def patched(series, tmp_path_factory):
    root = tmp_path_factory.mktemp('patched') / 'mmrazor'
    copy_mmrazor(root)
    subprocess.run(['git', 'init', '--quiet'], cwd=root, check=True)
    for patch in series[:-1]:
        git_apply(root, *NOT_INSTALLED, patch)
    git_apply(root, *NOT_INSTALLED[1:], series[-1])
    return root


def new_files(patched):
    names = [f'{name.replace(".", "/")}.py' for name in layout.MODULES.values()]
    return [*(patched / name for name in names), *(patched / SKD_TESTS).glob('*.py')]


def test_each_patch_applies_by_itself(checkout, series):
    assert len(series) == 6
    for patch in series:
        git_apply(checkout, '--check', *NOT_INSTALLED, patch)


def test_what_mmrazor_gets_is_its_own(patched):
    for path in new_files(patched):
        source = path.read_text()
        assert source.startswith(sources.HEADER)
        assert 'skd_mmrazor' not in source
        # mmrazor's oldest Python.
        ast.parse(source, feature_version=(3, 7))
    pytest.importorskip('ruff')
    files = map(str, new_files(patched))
    command = [sys.executable, '-m', 'ruff', 'check', '--isolated', '--select=F']
    subprocess.run([*command, *files], check=True)


def test_every_method_list_has_skd(patched):
    index = (patched / 'model-index.yml').read_text()
    assert index.count('configs/distill/mmcls/skd/metafile.yml') == 1
    configs = list((patched / 'configs' / 'distill' / 'mmcls' / 'skd').glob('*.py'))
    bases = len(list((ROOT / 'configs').glob('skd_*.py')))
    assert len(configs) == bases - len(layout.NO_BASE) == 9
    for config in configs:
        (base,) = [line.split("'")[1] for line in config.read_text().splitlines() if '.py' in line]
        assert (config.parent / base).exists()
        assert 'custom_imports' not in config.read_text()


def test_a_checkout_that_has_skd_is_refused(patched, tmp_path):
    with pytest.raises(ValueError, match='without SKD'):
        make_series(patched, tmp_path, styled=False)


@pytest.mark.parametrize(
    ('text', 'match'), [('a b', 'found 0 times'), ('x = 1\nx = 1\n', 'found 2 times')]
)
def test_a_text_that_has_gone_is_named(text, match):
    with pytest.raises(ValueError, match=rf'losses: {match}'):
        sources.replace_once(text, 'x = 1', 'x = 2', where='losses')


@pytest.mark.slow
def test_skd_passes_its_tests_inside_mmrazor(patched):
    """With the versions put right, but none of the plugin's models."""
    run_python(
        '-c',
        f"""
import os, sys, types
os.chdir({str(patched)!r})
sys.path.insert(0, {str(patched)!r})
sys.modules['skd_mmrazor'] = plugin = types.ModuleType('skd_mmrazor')
plugin.__path__ = [{str(ROOT / 'skd_mmrazor')!r}]
from skd_mmrazor import compat
compat.apply()
import mmrazor
assert mmrazor.__file__.startswith({str(patched)!r})
import pytest
configs = '--deselect={SKD_TESTS}/test_skd_configs.py'
failed = pytest.main(['-q', '-p', 'no:cacheprovider', configs, {SKD_TESTS!r}])
assert not [name for name in sys.modules if name.startswith('skd_mmrazor.models')]
sys.exit(failed)
""",
    )

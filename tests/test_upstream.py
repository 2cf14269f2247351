"""SKD as a project of mmrazor, and the fixes for mmrazor, on what its release installs.

``MMRAZOR_CHECKOUT=…`` takes a checkout of its main branch instead.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mmrazor
import pytest
import yaml

from upstream.copy_to_mmrazor import FILES, FOLDERS, PROJECT, copy_project, write_patch

from .conftest import ROOT, run_python

CHECKOUT = os.environ.get('MMRAZOR_CHECKOUT')
# What an installation lacks.
NOT_INSTALLED = [] if CHECKOUT else ['--exclude=tests/*']
FIXES = sorted((ROOT / 'upstream' / 'patches').glob('*.patch'))
CONFIGS = {
    'skd_crd_resnet50_resnet18_cifar10.py',
    'skd_dist_resnet34_resnet18_imagenet.py',
    'skd_dkd_resnet34_resnet18_imagenet.py',
    'skd_fitnets_resnet50_resnet18_imagenet.py',
    'skd_kd_resnet34_resnet18_imagenet.py',
    'skd_kd_resnet50_mobilenet-v2_imagenet.py',
    'skd_ofd_wrn28-4_wrn16-2_cifar10.py',
    'skd_rkd_resnet34_resnet18_imagenet.py',
    'skd_wsld_resnet34_resnet18_imagenet.py',
}
# The plugin's repairs, without its models; then the plugin cannot be imported any more.
PROJECT_TESTS = """
import os, sys, types
ROOT, PLUGIN, *ARGUMENTS = sys.argv[1:]
os.chdir(ROOT)
sys.path.insert(0, ROOT)
sys.modules['skd_mmrazor'] = plugin = types.ModuleType('skd_mmrazor')
plugin.__path__ = [PLUGIN]
from skd_mmrazor import compat
compat.apply()
for name in [name for name in sys.modules if name.startswith('skd_mmrazor')]:
    del sys.modules[name]

class Refuse:
    def find_spec(name, path=None, target=None):
        if name.split('.')[0] == 'skd_mmrazor':
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse)
import mmrazor.models, pytest
# Their check of an algorithm with SKD is of the plugin's models.
for kind in (mmrazor.models.SingleTeacherDistill, mmrazor.models.SelfDistill):
    kind.__init__ = kind.__init__.__wrapped__
assert mmrazor.__file__.startswith(ROOT)
sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '--rootdir=.', *ARGUMENTS]))
"""


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """mmrazor as it is."""
    root = tmp_path_factory.mktemp('checkout') / 'mmrazor'
    ignore = shutil.ignore_patterns('.git', '.mim', '__pycache__')
    if CHECKOUT:
        shutil.copytree(CHECKOUT, root, ignore=ignore)
    else:
        package = Path(mmrazor.__file__).parent
        shutil.copytree(package, root / 'mmrazor', ignore=ignore)
        shutil.copytree(package / '.mim' / 'configs', root / 'configs')
        shutil.copy(package / '.mim' / 'model-index.yml', root)
    subprocess.run(['git', 'init', '--quiet'], cwd=root, check=True)
    return root


@pytest.fixture(scope='module')
def patch(checkout, tmp_path_factory):
    path = tmp_path_factory.mktemp('patch') / 'skd.patch'
    write_patch(checkout, path)
    return path


@pytest.fixture(scope='module')
def patched(checkout, patch, tmp_path_factory):
    """mmrazor with the fixes and the project."""
    root = tmp_path_factory.mktemp('patched') / 'mmrazor'
    shutil.copytree(checkout, root)
    for path in [*FIXES, patch]:
        git_apply(root, path)
    # As an editable installation has it.
    (root / 'mmrazor' / '.mim').mkdir()
    for name in ('configs', 'model-index.yml'):
        (root / 'mmrazor' / '.mim' / name).symlink_to(root / name)
    return root


def git_apply(root, patch, *arguments):
    # The project's tests are under projects/.
    excluded = NOT_INSTALLED if patch in FIXES else []
    subprocess.run(['git', 'apply', *arguments, *excluded, str(patch)], cwd=root, check=True)


def files_of(folder):
    paths = (path for path in folder.rglob('*') if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in paths if path.suffix != '.pyc'}


@pytest.mark.parametrize('path', FIXES, ids=lambda path: path.name[:4])
def test_each_fix_applies_by_itself(checkout, path):
    git_apply(checkout, path, '--check')


def test_the_project_applies_by_itself(checkout, patch):
    git_apply(checkout, patch, '--check')
    names = re.findall(r'^diff --git a/(\S+) b/', patch.read_text(), flags=re.MULTILINE)
    assert names
    assert all(name.startswith('projects/skd/') for name in names)


def test_the_patch_is_the_copy(checkout, patched, tmp_path):
    copy_project(checkout, tmp_path / 'skd')
    assert files_of(tmp_path / 'skd') == files_of(patched / PROJECT)


def test_the_copy_is_complete_and_equal(patched):
    project = files_of(patched / PROJECT)
    expected = files_of(FILES)
    for folder in FOLDERS:
        files = files_of(ROOT / 'skd_mmrazor' / folder)
        assert Path('__init__.py') in files
        expected.update({folder / path: content for path, content in files.items()})
    assert {path: project[path] for path in project if path.parts[0] != 'configs'} == expected


def test_the_configs_differ_from_the_plugins_in_two_lines(patched):
    folder = patched / PROJECT / 'configs'
    assert {path.name for path in folder.iterdir()} == CONFIGS
    for path in folder.iterdir():
        plugins = (ROOT / 'configs' / path.name).read_text().splitlines()
        projects = path.read_text().splitlines()
        base, imports = [line for line in projects if line not in plugins]
        assert len(plugins) == len(projects)
        assert (folder / base.split("'")[1]).is_file()
        assert imports.split("'")[1] == 'projects.skd.models'


def test_configs_take_the_base_of_their_method_and_networks(patched):
    bases = {
        name: (patched / PROJECT / 'configs' / name).read_text().split("'")[1] for name in CONFIGS
    }
    folder = '../../../configs/distill/mmcls'
    assert bases['skd_kd_resnet50_mobilenet-v2_imagenet.py'] == (
        f'{folder}/kd/kd_logits_resnet50_mobilenet-v2_8xb32_in1k.py'
    )
    assert bases['skd_dkd_resnet34_resnet18_imagenet.py'] == (
        f'{folder}/dkd/dkd_resnet34_resnet18_8xb32_in1k.py'
    )
    assert bases['skd_ofd_wrn28-4_wrn16-2_cifar10.py'] == (
        f'{folder}/ofd/ofd_backbone_resnet50_resnet18_8xb16_cifar10.py'
    )


def test_the_metafile_lists_the_configs():
    metafile = yaml.safe_load((FILES / 'metafile.yml').read_text())
    assert {model['Config'] for model in metafile['Models']} == {
        f'projects/skd/configs/{name}' for name in CONFIGS
    }


def test_a_folder_that_is_not_mmrazor_is_refused(tmp_path):
    with pytest.raises(ValueError, match='expected the repository of mmrazor'):
        copy_project(tmp_path, tmp_path / 'skd')


def test_a_project_that_is_there_is_not_overwritten(tmp_path):
    checkout = tmp_path / 'mmrazor'
    (checkout / 'configs/distill/mmcls').mkdir(parents=True)
    command = [sys.executable, '-m', 'upstream.copy_to_mmrazor', str(checkout)]
    first, second = (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True) for _ in range(2)
    )
    assert first.stdout == f'project: {checkout / PROJECT}\n'
    assert second.returncode
    assert str(checkout / PROJECT) in second.stderr
    assert 'Traceback' not in second.stderr


def run_project_tests(patched, *arguments):
    """Runs them where the plugin cannot be imported."""
    plugin = ROOT / 'skd_mmrazor'
    return run_python('-c', PROJECT_TESTS, patched, plugin, PROJECT / 'tests', *arguments)


def test_the_project_builds_and_steps_without_the_plugin(patched):
    assert '4 passed' in run_project_tests(patched, '-k', 'simplifier')


@pytest.mark.nightly
def test_the_project_passes_its_tests_without_the_plugin(patched):
    assert f'{4 + 2 * len(CONFIGS)} passed' in run_project_tests(patched)

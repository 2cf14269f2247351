import importlib
import re

import pytest

from skd_mmrazor.compat import check_versions
from skd_mmrazor.compat.versions import SUPPORTED

from ..conftest import ROOT, run_python


@pytest.mark.parametrize(
    ('package', 'version'),
    [
        ('torch', '1.13.1'),
        ('mmcv', '2.2.0'),
        ('mmcv', '1.7.1'),
        ('mmengine', '0.8.0'),
        ('mmpretrain', '1.0.0'),
        ('mmrazor', '0.3.0'),
    ],
)
def test_a_version_that_cannot_work_is_one_sentence(monkeypatch, package, version):
    monkeypatch.setattr(importlib.import_module(package), '__version__', version)
    with pytest.raises(ImportError) as error:
        check_versions()
    message = str(error.value)
    assert message.startswith(f'skd_mmrazor needs {package}{SUPPORTED[package]}, but {package} ')
    assert f'{version} is installed: ' in message
    assert 'pip install' in message


def import_with(tmp_path, module, source):
    """Imports the plugin with ``module`` replaced by a stand-in."""
    package = tmp_path / module
    package.mkdir()
    (package / '__init__.py').write_text(source)
    code = f'import sys; sys.path.insert(0, {str(tmp_path)!r}); import skd_mmrazor'
    return run_python('-c', code, check=False, fresh=True).strip().splitlines()[-1]


def test_import_with_a_newer_mmcv(tmp_path):
    last = import_with(tmp_path, 'mmcv', "__version__ = '2.2.0'")
    assert last.startswith('ImportError: skd_mmrazor needs mmcv>=2.0.0,<=2.1.0, but mmcv 2.2.0')


def test_import_with_a_torchvision_of_another_build(tmp_path):
    source = "raise RuntimeError('operator torchvision::nms does not exist')"
    last = import_with(tmp_path, 'torchvision', source)
    assert 'cannot import the installed torchvision (operator torchvision::nms' in last
    assert 'together, from one index' in last


def test_import_without_mmcv():
    code = "import sys; sys.modules['mmcv'] = None; import skd_mmrazor"
    last = run_python('-c', code, check=False, fresh=True).strip().splitlines()[-1]
    assert 'needs mmcv>=2.0.0,<=2.1.0, which is not installed: pip install' in last


def test_setup_declares_what_is_checked():
    declared = re.findall(r'"([\w-]+)([<>=][^"]*)"', (ROOT / 'pyproject.toml').read_text())
    declared = {name.removesuffix('-lite'): spec for name, spec in declared}
    for package, spec in SUPPORTED.items():
        assert declared[package] == spec


def test_setup_declares_what_mmrazor_forgot():
    """mmrazor imports joblib and does not declare it."""
    assert '"joblib"' in (ROOT / 'pyproject.toml').read_text()
    code = "import sys; sys.modules['joblib'] = None; import skd_mmrazor"
    assert 'ModuleNotFoundError: import of joblib' in run_python(
        '-c', code, check=False, fresh=True
    )

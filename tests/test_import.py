"""A program that does not use the package is the same program with its import.

``plain_program.py`` is run by itself, with ``import skd_mmrazor``, and, to show that
the comparison sees a difference, with ``import skd_mmrazor.safeguards``.
"""

import json
import pkgutil
import re
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

import skd_mmrazor.safeguards  # noqa: F401  (declares its changes)
from skd_mmrazor.__main__ import make_table
from skd_mmrazor.compat.patches import Patches, repairs, safeguards

from .conftest import ROOT, once_per_run, run_python
from .plain_program import LIBRARIES

# What else there is to train and draw with. The plain program has none of them;
# mmrazor imports the first two by itself.
HEAVY = {'sklearn', 'matplotlib', 'scipy', 'pandas', 'seaborn', 'joblib', 'timm', 'transformers'}


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """What the program found, by what it imported."""
    modules = ('', 'skd_mmrazor', 'skd_mmrazor.safeguards')

    def make(folder):
        def run(module):
            (folder / f'by_{module}').mkdir()
            output = folder / f'by_{module}.json'
            run_python(
                'tests/plain_program.py',
                folder / f'by_{module}',
                output,
                *module.split(),
                fresh=True,
            )

        with ThreadPoolExecutor() as threads:
            list(threads.map(run, modules))

    folder = once_per_run(tmp_path_factory, 'programs', make)
    return {
        module: json.loads(
            (folder / f'by_{module}.json').read_text().replace(f'{folder}/by_{module}', 'FOLDER')
        )
        for module in modules
    }


def differences(programs, part, module='skd_mmrazor'):
    """The names of the parts in which two programs differ."""
    before, after = programs[''][part], programs[module][part]
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def attributes_of(patches):
    """The names of the attributes of LIBRARIES that these replace on this machine."""
    names = set()
    for patch in patches:
        if not (patch.replaces and patch.needed()):
            continue
        for target in patch.targets:
            owner, _, name = target.rpartition('.')
            holder = pkgutil.resolve_name(owner)
            if not isinstance(holder, types.ModuleType):
                owner = f'{holder.__module__}.{holder.__qualname__}'
            names.add(f'{owner}.{name}')
    return {name for name in names if name.split('.')[0] in LIBRARIES}


def test_a_plain_program_does_the_same(programs):
    assert len(programs['']['behaviours']) >= 12
    assert differences(programs, 'behaviours') == set()


def test_the_comparison_sees_what_the_safeguards_change(programs):
    assert differences(programs, 'behaviours', 'skd_mmrazor.safeguards') == {
        'annotation: absolute path',
        'annotation: parent folder',
        'annotation: label -1',
        'annotation: no label',
        'load_from of which nothing fits',
        'resume into another layer',
        'a text as a checkpoint',
    }


def test_the_state_of_the_process_stays(programs):
    for part in (
        'state_of_random_numbers',
        'filters_of_warnings',
        'environment',
        'handlers_of_logs',
        'defaults',
    ):
        assert programs['skd_mmrazor'][part] == programs[''][part], part
    assert programs['skd_mmrazor']['state_of_random_numbers'] is True


@pytest.mark.parametrize(
    ('module', 'patches'),
    [('skd_mmrazor', repairs), ('skd_mmrazor.safeguards', [*repairs, *safeguards])],
)
def test_no_attribute_differs_but_those_of_the_table(programs, module, patches):
    """Of some hundred thousand in mmengine, mmpretrain, mmcv and torch."""
    after = programs[module]['attributes']
    changed = {
        name
        for name in differences(programs, 'attributes', module)
        # What mmrazor changes when it is imported is its own.
        if 'mmrazor/' not in str(after.get(name)).replace('skd_mmrazor/', '')
    }
    assert len(after) > 50_000
    assert changed == attributes_of(patches)


def test_registries_gain_names_and_lose_none(programs):
    before, after = (programs[m]['registries'] for m in ('', 'skd_mmrazor'))
    assert before.keys() == after.keys()
    gained = {}
    for name, classes in after.items():
        assert before[name].items() <= classes.items(), name
        gained.update({key: classes[key] for key in classes.keys() - before[name].keys()})
    # mmrazor adds hooks to mmengine's, and the program has a LinearReduction of its own.
    others = {key for key, module in gained.items() if not module.startswith('mmrazor.')}
    assert others == {'ClsVisualizer', 'PackClsInputs'}


def test_names_of_packages_and_finders_are_those_of_the_table(programs):
    assert differences(programs, 'packages') == {'mmcls', 'skd_mmrazor'}
    before, after = (programs[m]['finders'] for m in ('', 'skd_mmrazor'))
    assert after == [*before, 'skd_mmrazor.compat.mmcls']


def test_no_library_to_draw_or_learn_with_is_imported(programs):
    """Nor any other library that the plain program does not import, except mmrazor."""
    requested = set(programs['skd_mmrazor']['requested'])
    assert 'mmrazor' in requested
    assert not requested & HEAVY
    assert requested <= {*programs['']['imported'], *sys.stdlib_module_names, 'mmrazor'}


def test_the_table_says_what_is_made_here():
    output = run_python('-m', 'skd_mmrazor')
    rows = re.findall(r'^\| (repair|opt-in) \| ([a-z ]+) \|', output, re.MULTILINE)
    assert len(rows) == len(repairs) + len(safeguards)
    for (kind, state), patch in zip(rows, [*repairs, *safeguards], strict=True):
        assert patch.reason, patch.targets
        made = 'yes' if kind == 'repair' else 'only when imported'
        assert state == (made if patch.needed() or patch.active else 'not needed'), patch.targets


def test_the_documented_table_is_that_of_the_code():
    assert make_table(with_state=False) in (ROOT / 'docs' / 'importing.md').read_text()


def test_importing_twice_changes_nothing():
    before = [patch.active for patch in (*repairs, *safeguards)]
    targets = [t for patch in safeguards if patch.replaces for t in patch.targets]
    attributes = [pkgutil.resolve_name(target) for target in targets]
    repairs.apply()
    safeguards.apply()
    assert [patch.active for patch in (*repairs, *safeguards)] == before
    assert [pkgutil.resolve_name(target) for target in targets] == attributes


class Owner:
    """Has a method of each kind."""

    @classmethod
    def of_class(cls, number):
        return cls, number

    @staticmethod
    def static(number):
        return Owner, number

    def plain(self, number):
        return type(self), number


@pytest.mark.parametrize('name', ['of_class', 'static', 'plain'])
def test_a_wrapped_method_is_called_as_before(name):
    patches = Patches()
    patches.wrapping(f'{__name__}.Owner.{name}')(lambda original, *args: [original(*args)])
    patches.apply()
    assert getattr(Owner(), name)(1) == [(Owner, 1)]
    if name != 'plain':
        assert getattr(Owner, name)(1) == [(Owner, 1)]

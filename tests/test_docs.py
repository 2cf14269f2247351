"""What the documents name is there, and their numbers are those of their sources."""

import ast
import csv
import functools
import inspect
import json
import re
import runpy
import statistics

import mmengine.registry
import mmpretrain.registry
import mmrazor.registry
import pytest
from mmengine.registry import Registry
from PIL import Image

from benchmarks.accuracy.published import PUBLISHED
from skd_mmrazor.models import AttentionSimplifierConnector, SKDDistiller

from .conftest import ROOT
from .documents import (
    GUIDES,
    PAGES,
    READMES,
    blocks,
    inline_code,
    name,
    read,
    tables,
)

REGISTRIES = [
    value
    for package in (mmengine, mmrazor, mmpretrain)
    for value in vars(package.registry).values()
    if isinstance(value, Registry)
]


@functools.cache
def get_type(type_name):
    """A class by its name in a config, of whatever registry."""
    type_name = type_name.rpartition('.')[2]
    for key in (type_name, f'{type_name}Recorder'):
        for registry in REGISTRIES:
            if key in registry.module_dict:
                return registry.module_dict[key]
    return None


def arguments(cls):
    bases = cls.__mro__ if inspect.isclass(cls) else ()
    functions = [base.__init__ for base in bases if '__init__' in vars(base)] or [cls]
    keys = {key for function in functions for key in inspect.signature(function).parameters}
    return keys | {'_scope_', '_delete_'}


def takes(cls, key):
    """Whether a config of a class may have a key: one of another package may pass it on."""
    passes_on = 'kwargs' in arguments(cls) and not cls.__module__.startswith('skd_mmrazor')
    return passes_on or key in arguments(cls)


def unknown_names(code):
    """Types without a class, and keys beside a type that its class does not take."""
    try:
        # Where a text leaves something out.
        tree = ast.parse(code.replace('…', '*_').strip())
    except SyntaxError:
        return []
    unknown = []
    for call in ast.walk(tree):
        keys = {k.arg: k.value for k in getattr(call, 'keywords', ()) if k.arg}
        if getattr(getattr(call, 'func', None), 'id', None) == 'dict' and 'type' in keys:
            type_name = getattr(keys.pop('type'), 'value', None)
            cls = get_type(type_name) if isinstance(type_name, str) else object
            if cls is None:
                unknown.append(type_name)
            elif cls is not object:
                unknown += [f'{type_name}: {key}' for key in keys if not takes(cls, key)]
        elif 'simplifier' in keys and isinstance(keys['simplifier'], ast.Call):
            given = {k.arg for k in keys['simplifier'].keywords} - {'type'}
            unknown += [f'simplifier: {k}' for k in given - arguments(AttentionSimplifierConnector)]
    return unknown


def missing_files(code):
    """Paths of this repository that lead nowhere."""
    folders = 'benchmarks|configs|demo|docs|skd_mmrazor|tests|tools|upstream'
    paths = re.findall(rf'(?<![\w/.-])(?:{folders})/[\w./*{{}},-]+', code)
    # mmrazor's own configs, and what Sphinx writes.
    paths = {p for p in paths if not p.startswith(('configs/distill/', 'docs/_build'))}
    expanded = [path for p in sorted(paths) for path in expand(p.rstrip('.,'))]
    return [path for path in expanded if not [*ROOT.glob(path)]]


def expand(path):
    """Expands braces as a shell does."""
    found = re.match(r'(.*?){([^{}]*)}(.*)', path)
    if not found:
        return [path]
    head, names, tail = found.groups()
    return [p for part in names.split(',') for p in expand(head + part + tail)]


def missing_tests(text):
    """Names of tests that no file has, or not the one that the link leads to."""
    files = {path.name: read(path) for path in (ROOT / 'tests').rglob('*.py')}
    named = re.findall(r'`(test_\w+)`(?:\]\((\S+?)\))?', text)
    return [
        test
        for test, link in named
        if f'def {test}(' not in (files[link.split('/')[-1]] if link else '\n'.join(files.values()))
    ]


@pytest.mark.parametrize('path', GUIDES, ids=name)
def test_what_a_page_names_is_there(path):
    text = read(path)
    code = [*inline_code(text), *(b.text for b in blocks(text))]
    # Its types of mmrazor 0.x are no more.
    if path.stem != 'mmrazor_0x':
        assert not [name for part in code for name in unknown_names(part)]
    assert not missing_files('\n'.join(code))
    assert not missing_tests(text)


def test_what_is_not_there_is_found():
    assert unknown_names("dict(type='mmrazor.NoHook', interval=1)") == ['mmrazor.NoHook']
    assert unknown_names("x = [dict(type='mmrazor.ChannelsLastHook', y=1)]") == [
        'mmrazor.ChannelsLastHook: y'
    ]
    assert unknown_names('simplifier=dict(…, lam=1)'.join(['dict(', ')'])) == ['simplifier: lam']
    assert not unknown_names("dict(type='ModuleOutputs', source='fc')")
    found = missing_files('tools/train.py tools/gone.py configs/{digits,gone}/*.py')
    assert found == ['configs/gone/*.py', 'tools/gone.py']
    assert missing_tests('`test_gone`, [`test_stem`](../tests/test_docs.py)') == [
        'test_gone',
        'test_stem',
    ]


def test_pages_are_short_and_name_no_commit():
    """Less than 6,000 words without what scripts write: two tables of what was tried."""
    words = 0
    for path in PAGES:
        text = read(path)
        hashes = re.findall(r'\b(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{7,40}\b', text)
        assert not hashes, f'{path.name}: {hashes}'
        if path.stem == 'importing':
            text = text.replace(re.search(r'\|  \| what is changed.*?\n\n', text, re.S).group(), '')
        words += len(text.split()) if path.stem != 'compatibility' else 0
    assert words < 6000, words


def test_known_issues_are_numbered_in_order():
    text = read(ROOT / 'docs/known_issues.md')
    found = [int(number) for number in re.findall(r'^(\d+)\. ', text, re.MULTILINE)]
    assert found == list(range(1, len(found) + 1))
    for item in re.findall(r'^\d+\. .*', text, re.MULTILINE):
        assert re.search(r'\]\(\.\./tests/\S+\)\)$|\(no test\)$', item), item


@pytest.mark.parametrize('path', READMES, ids=name)
def test_the_options_are_those_of_the_classes(path):
    (options,) = (t for t in tables(read(path)) if 'simplifier.attend_over' in t[2][0])
    documented = {}
    for row in options[2:]:
        keys = re.findall(r'`([\w.]+)`', row[0])
        values = [value.strip(' `') for value in re.split('[,，;；]', row[2])]
        documented.update(zip(keys, values, strict=True))
    simplifier = inspect.signature(AttentionSimplifierConnector).parameters
    distiller = inspect.signature(SKDDistiller).parameters
    expected = {*simplifier, *distiller} - {'num_classes', 'simplifier', 'init_cfg', 'kwargs'}
    assert {key.removeprefix('simplifier.') for key in documented} == expected
    for key, value in documented.items():
        argument = {**simplifier, **distiller}[key.removeprefix('simplifier.')]
        if re.fullmatch(r"[\d.]+|True|'\w+'", value):
            assert ast.literal_eval(value) == argument.default, key


def test_the_results_are_those_of_the_runs():
    (table,) = (t for t in tables(read(ROOT / 'README.md')) if 'Fashion-MNIST' in t[2][0])
    for data, seeds, *means in (row[:4] for row in table[2:]):
        file = 'digits' if 'digits' in data else 'fashion_mnist'
        method = data.split(', ')[-1].strip().lower()
        suffix = '_resnet14-w16_resnet10-w4_60e_digits' if 'digits' in data else ''
        values = {method + suffix: [], f'skd_{method}{suffix}': []}
        for row in csv.DictReader(
            read(ROOT / f'benchmarks/accuracy/results/{file}.csv').splitlines()
        ):
            if row['config'] in values:
                values[row['config']].append(float(row['value']))
        assert [len(v) for v in values.values()] == [int(seeds)] * 2, data
        assert [f'{statistics.mean(v):.2f}' for v in values.values()] == [m.strip() for m in means]


def test_the_costs_and_the_published_numbers_are_those_of_their_sources():
    found = tables(read(ROOT / 'docs/configs_and_costs.md'))
    times = json.loads((ROOT / 'benchmarks/speed/results/cifar_cuda.json').read_text())['times']
    (costs,) = (t for t in found if 'GPU hours a run' in t[0][2])
    for method, step, hours in ([cell.strip() for cell in row] for row in costs[2:]):
        median = statistics.median(times[method if 'SKD' in method else f'mmrazor {method}'])
        assert f'{median:.1f}' == step
        assert f'{float(step) * 782 * 240 / 3.6e6:.2f}' == hours
    (published,) = (t for t in found if 'DKD' in t[0][2])
    for row in published[2:]:
        pair = re.sub(r'(resnet|vgg)-(?=\d)', r'\1', row[0].strip().lower())
        pair = re.sub(r'wrn-(\d+)-(\d)', r'wrn\1-\2', pair).replace(' → ', '_')
        for method, value in zip(('kd', 'dkd'), row[1:3], strict=True):
            assert PUBLISHED[f'{method}_{pair}'].startswith(f'[{value.strip()},'), row


def test_the_picture_of_a_step_is_drawn(tmp_path):
    runpy.run_path(str(ROOT / 'docs/draw_step.py'))['draw'](tmp_path / 'step.png')
    assert Image.open(tmp_path / 'step.png').size == Image.open(ROOT / 'docs/images/step.png').size

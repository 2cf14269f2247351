"""The benchmarks of speed: what is timed is the same work, and all of it is reported."""

import json
import os
import random
import signal
import statistics
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from benchmarks.speed import epoch, other_loops, runners, scenarios, simplifier, step
from benchmarks.speed.memory import call_alone, forget_peak, get_peak, give_back_freed
from benchmarks.speed.timing import interleave, ratio
from skd_mmrazor.datasets import glyph_images

from ..conftest import ROOT

RESULTS = (ROOT / 'benchmarks' / 'speed' / 'results').glob('*.json')
RESULTS = {path.stem: json.loads(path.read_text()) for path in RESULTS}
STEPS = sorted(name for name, found in RESULTS.items() if 'memory' in found)
CPU = torch.device('cpu')


def test_every_function_is_called_in_every_round_in_changing_order():
    called = []
    calls = {name: lambda name=name: called.append(name) for name in 'abc'}
    times = interleave(calls, 20, CPU, warmup=2)
    assert {name: len(values) for name, values in times.items()} == dict(a=20, b=20, c=20)
    rounds = [called[i : i + 3] for i in range(0, len(called), 3)]
    assert len(rounds) == 22
    assert all(sorted(order) == ['a', 'b', 'c'] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 3
    assert all(value > 0 for values in times.values() for value in values)


def test_ratios_are_of_the_same_round():
    base = [random.Random(0).uniform(1, 9) for _ in range(11)]
    times = [(2 + i / 10) * value for i, value in enumerate(base)]
    # Whatever a round is slowed down by cancels. The quartiles of 2.0, 2.1 ... 3.0:
    assert ratio(times, base) == pytest.approx((2.5, 2.2, 2.8))
    assert ratio(base, base) == (1, 1, 1)


def fill(mebibytes):
    """The peak that an array adds, after a larger one has been freed."""
    give_back_freed()
    np.ones(2 * mebibytes << 17)
    forget_peak(CPU)
    before = get_peak(CPU)
    np.ones(mebibytes << 17)
    return get_peak(CPU) - before


def end_itself(code):
    os.kill(os.getpid(), code)


@pytest.mark.slow
def test_memory_is_of_a_process_of_its_own():
    # A peak of this process that the other must not see.
    np.ones(200 << 17)
    assert call_alone(fill, 100) == pytest.approx(100, abs=2)
    with pytest.raises(ChildProcessError) as error:
        call_alone(end_itself, signal.SIGKILL)
    assert error.value.args == (-signal.SIGKILL,)


def run(module, monkeypatch, capsys, *arguments):
    """Runs a benchmark; gives the cells of the rows that it prints."""
    monkeypatch.setattr('sys.argv', [module.__name__, *map(str, arguments)])
    module.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('| ')]
    return [line.strip('| ').split(' | ') for line in lines[1:]]


@pytest.mark.slow
def test_the_simplifier_is_measured_at_every_size(monkeypatch, tmp_path, capsys):
    arguments = ('--classes', 20, 2000, '--batches', 4, '--rounds', 3, '--device', 'cpu')
    rows = run(simplifier, monkeypatch, capsys, *arguments, '--out', tmp_path)
    sizes = [('20', '4'), ('2,000', '4')]
    assert [tuple(r[:3]) for r in rows] == [(o, *s) for s in sizes for o in ('samples', 'classes')]
    found = json.loads((tmp_path / 'simplifier_cpu.json').read_text())
    assert 'threads' in found['machine']
    for cells, row in zip(rows, found['rows'], strict=True):
        assert len(row['times']) == 3
        assert float(cells[3]) == pytest.approx(statistics.median(row['times']), abs=0.01)
        assert float(cells[4]) == pytest.approx(row['memory'], abs=0.1)


@pytest.mark.slow
def test_a_pass_beyond_the_limit_is_said_to_be(monkeypatch, capsys):
    arguments = ('--classes', 20000, '--batches', 8, '--rounds', 10**6, '--device', 'cpu')
    samples, classes = run(simplifier, monkeypatch, capsys, *arguments, '--limit', 0.5)
    assert samples[3].endswith(' (one pass)')
    assert classes[3].startswith('over 0.5 s')


@pytest.mark.slow
def test_memory_of_attention_over_samples_is_linear_in_the_batch():
    sizes = (256, 1024)
    few, many = (
        call_alone(simplifier.measure, 'samples', 5000, size, 60.0, CPU)[1] for size in sizes
    )
    assert many / few == pytest.approx(4, rel=0.1)


@pytest.mark.nightly
def test_an_epoch_is_timed_for_every_contender(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CIFAR100_DATASET', '')  # Set by the benchmark, and restored.
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=2, test=1))
    arguments = ('--iterations', 1, '--repeats', 2, '--out', tmp_path)
    rows = run(epoch, monkeypatch, capsys, *arguments)
    assert [row[0] for row in rows] == list(epoch.CONTENDERS)
    assert rows[0][3] == '1.000 (1.000 to 1.000)'
    found = json.loads(next(tmp_path.glob('epoch_*.json')).read_text())
    for name, seconds, rate, _, share in rows:
        assert len(found['times'][name]) == 2
        median = statistics.median(found['times'][name])
        assert float(seconds) == pytest.approx(median / 1000, abs=0.01)
        assert int(rate) == pytest.approx(1000 * 64 / median, abs=1)
        assert 0 < float(share.rstrip('%')) < 100


@pytest.mark.slow
def test_the_base_of_epochs_has_none_of_our_hooks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('CIFAR100_DATASET', '')
    monkeypatch.setattr(glyph_images, 'PER_CLASS', dict(train=2, test=1))
    hooks = {
        name: {type(hook).__name__ for hook in epoch.build(name, 1, 'cpu').hooks}
        for name in epoch.CONTENDERS
    }
    ours = {'EpochSeedHook', 'CheckInvalidLossHook', 'FrozenTeacherHook'}
    assert not hooks.pop(epoch.BASE) & ours
    assert [found & ours == ours for found in hooks.values()] == [False, False, True, False]
    assert ['StoredTeacherHook' in found for found in hooks.values()] == [False] * 3 + [True]


@pytest.mark.nightly
def test_a_step_is_timed_for_every_contender(monkeypatch, tmp_path, capsys):
    arguments = ('--scenario', 'cifar', '--batch-size', 2, '--rounds', 2, '--out', tmp_path)
    rows = run(step, monkeypatch, capsys, *arguments)
    names = [row[0] for row in rows]
    assert names[0] == step.BASE
    assert names[-2:] == [step.STORED, step.STORED_LAYOUT]
    assert {step.BEST, step.EVERYTHING, step.KD_EVERYTHING, step.FLOOR} <= set(names)
    assert ('torchdistill' in names) == bool(find_spec('torchdistill'))
    assert rows[0][2] == '1'
    (path,) = tmp_path.glob('cifar_*.json')
    found = json.loads(path.read_text())
    assert list(found['times']) == list(found['memory']) == names
    assert {len(times) for times in found['times'].values()} == {2}
    assert all(float(row[3]) > 0 for row in rows)
    assert found['parts'].keys() > {'teacher', 'simplifier', 'backward'}
    assert 0 < found['reading']['teacher'] < found['parts']['teacher']
    assert path.with_suffix('.png').read_bytes()[1:4] == b'PNG'


ALONE = [
    other_loops.by_hand,
    pytest.param(
        other_loops.by_torchdistill,
        marks=pytest.mark.skipif(not find_spec('torchdistill'), reason='needs torchdistill'),
    ),
]


@pytest.mark.parametrize('build', ALONE)
def test_other_loops_train_as_the_runner_does(build):
    cfg = scenarios.load(scenarios.SCENARIOS['cifar'], 'kd')
    theirs, runner = runners.by_runner(cfg)
    ours, algorithm = build(cfg, next(runner.model.parameters()).device)
    start = {name: value.clone() for name, value in runner.model.state_dict().items()}
    algorithm.load_state_dict(start)
    for _ in range(2):
        batch = scenarios.make_batch(scenarios.SCENARIOS['cifar'], 4)
        theirs(batch)
        ours(batch)
    found, expected = algorithm.state_dict(), runner.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)
    moved = {name for name in start if not torch.equal(start[name], expected[name])}
    assert {name.split('.')[0] for name in moved} == {'architecture'}
    assert 'architecture.head.fc.weight' in moved


@pytest.mark.parametrize('name', STEPS)
def test_the_published_tables_are_those_of_the_results(name):
    table = step.to_markdown(RESULTS[name]['times'], RESULTS[name]['memory'])
    assert table in (ROOT / 'benchmarks' / 'speed' / 'README.md').read_text()

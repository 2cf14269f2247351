"""Runs over seeds: each is trained once, whatever happens to the command."""

import argparse
import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmrazor.registry import MODELS
from scipy import stats

from benchmarks.accuracy.cifar100 import (
    METHODS,
    METRIC,
    PAIRS,
    get_columns,
    get_control,
    judge,
    parse_args,
    plan,
)
from benchmarks.accuracy.controls import CONTROLS
from benchmarks.accuracy.runs import Run, make_runs, train_all
from benchmarks.accuracy.summary import plot, summarise, to_markdown, write_csv

from ..conftest import ROOT, run_python

DIGITS = [
    ROOT / 'configs' / 'digits' / f'{name}_resnet14-w16_resnet10-w4_60e_digits.py'
    for name in ('kd', 'skd_kd')
]


def finished(folder, name, seed, value):
    run = Run(Path(f'{name}.py'), seed, folder)
    run.work_dir.mkdir(parents=True)
    (run.work_dir / 'result.json').write_text(json.dumps({'accuracy/top1': value}))
    return run


def test_differences_are_paired_by_seed(tmp_path):
    plain, ours = [70.0, 71.5, 69.0], [70.5, 72.5, 69.2]
    runs = [finished(tmp_path, 'kd_a_b', i, v) for i, v in enumerate(plain)]
    runs += [finished(tmp_path, 'skd_kd_a_b', i, v) for i, v in reversed(list(enumerate(ours)))]
    runs += [Run(Path('kd_a_b.py'), 3, tmp_path)]  # has not finished
    base, row = summarise(runs, 'accuracy/top1')
    assert base.base == ''
    interval = stats.ttest_rel(ours, plain).confidence_interval()
    assert row.paired.mean() - row.half == pytest.approx(interval.low)
    assert row.paired.mean() + row.half == pytest.approx(interval.high)
    assert base.spread == pytest.approx(np.std(plain, ddof=1))
    mean = np.subtract(ours, plain).mean()
    assert (
        f'| skd_kd_a_b | {np.mean(ours):.2f} ± {np.std(ours, ddof=1):.2f} | 3 | {mean:+.2f} ['
        in (to_markdown([base, row], 'accuracy/top1'))
    )
    write_csv([base, row], tmp_path / 'a.csv')
    assert 'kd_a_b,1,71.5' in (tmp_path / 'a.csv').read_text()
    plot([base, row], 'accuracy/top1', tmp_path / 'a.png')
    assert (tmp_path / 'a.png').read_bytes()[1:4] == b'PNG'


def test_all_are_compared_with_one_where_it_is_named(tmp_path):
    accuracies = dict(kd=[70, 72], skd_kd=[71, 74], kd_warmup=[69, 70])
    runs = [
        finished(tmp_path, name, i, float(v))
        for name, values in accuracies.items()
        for i, v in enumerate(values)
    ]
    rows = summarise(runs, 'accuracy/top1', 'kd')
    assert [list(row.paired) for row in rows] == [[], [1, 2], [-1, -2]]
    table = to_markdown(rows, 'accuracy/top1')
    assert 'minus kd, 95 %' in table
    assert '| kd_warmup | 69.50 ± 0.71 | 2 | -1.50 [' in table


def test_a_result_of_other_options_is_refused(tmp_path, monkeypatch):
    run = finished(tmp_path, 'kd', 0, 70.0)
    (run.work_dir / 'settings.json').write_text(json.dumps(run.settings))
    assert train_all([run], ['']) == []
    with pytest.raises(SystemExit, match=r"--work-dir: .*seed0 .* expected .*'lr=1'"):
        train_all([Run(run.config, 0, tmp_path, ('lr=1',))], [''])
    with monkeypatch.context() as context:
        context.setenv('STUDY_SPLIT', 'val')
        with pytest.raises(SystemExit, match="'STUDY_SPLIT': 'val'"):
            train_all([run], [''])
    monkeypatch.setattr('benchmarks.accuracy.runs._hash_models', lambda: 'another')
    with pytest.raises(SystemExit, match="'models': 'another'"):
        train_all([run], [''])


def cifar100(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['cifar100.py', *arguments])
    return parse_args()


def test_the_benchmark_is_thirteen_pairs_by_four_methods(monkeypatch):
    teachers, students = plan(cifar100(monkeypatch, '--seeds', '2'))
    assert (len(PAIRS), len(METHODS)) == (13, 4)
    assert len(students) == 13 * 4 * 2
    assert {run.config.stem.split('_')[0] for run in teachers} == {
        *('resnet32x4', 'resnet50', 'resnet56', 'resnet110', 'vgg13', 'wrn40-2'),
    }
    assert len({run.work_dir for run in teachers + students}) == 6 + 104


def test_every_student_gets_the_teacher_of_its_pair(monkeypatch, tmp_path):
    arguments = ('--pairs', 'vgg13_vgg8', '--work-dir', str(tmp_path), '--epochs', '12')
    (teacher,), students = plan(cifar100(monkeypatch, *arguments, '--methods', 'kd', 'student'))
    checkpoint = f'model.teacher_ckpt={teacher.work_dir}/epoch_12.pth'
    assert [checkpoint in run.options for run in students] == [True, False] * 3
    given, students = plan(cifar100(monkeypatch, *arguments, '--teachers', '/converted'))
    assert given == []
    assert all('model.teacher_ckpt=/converted/vgg13.pth' in run.options for run in students)


@pytest.mark.slow
def test_a_dry_run_prints_commands_and_their_cost_and_trains_nothing(tmp_path):
    arguments = ('--dry-run', '--work-dir', tmp_path / 'runs', '--dataset', 'glyph100')
    pair = ('--pairs', 'resnet56_resnet20', '--methods', 'kd', 'student', '--seeds', '2')
    small = ('--cfg-options', 'train_dataloader.batch_size=4', 'val_dataloader.batch_size=4')
    output = run_python('-m', 'benchmarks.accuracy.cifar100', *arguments, *pair, *small)
    lines = [line for line in output.splitlines() if 'tools/train.py' in line]
    assert len(lines) == 1 + 2 * 2
    assert all('CIFAR100_DATASET=glyph100 CIFAR100_EPOCHS=240' in line for line in lines)
    assert not (tmp_path / 'runs').exists()
    # Three configs: milliseconds of a step, hours of 240 epochs of 12,500 steps, megabytes.
    found = re.findall(
        r'^\| (\w+?)_240e_cifar100 \| (\d) \| (\S+) \| (\S+) \| (\d+) \|$', output, re.M
    )
    names, numbers = zip(*[(name, tuple(map(float, rest))) for name, *rest in found], strict=True)
    assert names == ('resnet56', 'kd_resnet56_resnet20', 'resnet20')
    assert [number[0] for number in numbers] == [1, 2, 2]
    for _, step, hours, _ in numbers:
        assert hours >= step * 12_500 * 240 / 3_600_000 - 0.01 > 0
    # Weights and momentum of 861,620 and of 278,324 parameters; KD holds both networks.
    assert [number[3] for number in numbers] == pytest.approx([6.9, 5.7, 2.2], abs=1)
    total = sum(number[0] * number[2] for number in numbers)
    (said,) = re.findall(r'^5 runs: (\S+) .PU hours', output, re.M)
    assert float(said) == pytest.approx(total, abs=0.1)


def test_features_are_compared_with_their_control(tmp_path):
    """SKD adds a divergence on the logits to them, which the control has too."""
    networks = 'resnet32x4_resnet8x4_240e_cifar100'
    accuracies = {'fitnets': 73.0, 'fitnets-kd': 74.0, 'skd_fitnets': 74.5, 'kd': 73.5}
    accuracies['skd_kd'] = 73.25
    runs = [finished(tmp_path, f'{m}_{networks}', 0, value) for m, value in accuracies.items()]
    rows = {row.name.split('_res')[0]: row for row in summarise(runs, METRIC, get_control)}
    assert (rows['skd_fitnets'].base, *rows['skd_fitnets'].paired) == (
        f'fitnets-kd_{networks}',
        0.5,
    )
    assert (rows['skd_kd'].base, *rows['skd_kd'].paired) == (f'kd_{networks}', -0.25)
    assert not rows['fitnets-kd'].base
    # Without the control there is no difference, rather than one that has KD in it.
    (_, row) = summarise([runs[0], runs[2]], METRIC, get_control)
    assert (row.base, list(row.paired)) == ('', [])


def test_the_table_has_the_best_epoch_and_what_was_published(tmp_path):
    names = [f'{m}resnet32x4_resnet8x4_240e_cifar100' for m in ('kd_', 'dkd_', 'skd_kd_')]
    runs = []
    for name, seed, values in ((names[0], 0, (70, 74, 73)), (names[0], 1, (72, 71, 70))):
        run = finished(tmp_path, name, seed, float(values[-1]))
        (run.work_dir / 'start' / 'vis_data').mkdir(parents=True)
        records = [json.dumps({METRIC: float(v), 'step': i}) for i, v in enumerate(values, 1)]
        (run.work_dir / 'start' / 'vis_data' / 'scalars.json').write_text('\n'.join(records) + '\n')
        runs.append(run)
    runs += [finished(tmp_path, name, 0, 75.0) for name in names[1:]]
    table = to_markdown(summarise(runs, METRIC, get_control), METRIC, get_columns(runs))
    head, _, kd, dkd, skd, *_ = [
        [c.strip() for c in x.split('|')[1:-1]] for x in table.splitlines()
    ]
    assert head[4:6] == ['best epoch', 'published']
    assert kd[1:3] == ['71.50 ± 2.12', '2']
    assert kd[4] == '73.00 ± 1.41'
    assert re.fullmatch(
        r'\[73\.33, last\]\(https://github\.com/HobbitLong/RepDistiller/.*\)', kd[5]
    )
    assert re.fullmatch(r'\[76\.32, best\]\(https://github\.com/megvii-.*\)', dkd[5])
    assert skd[5] == ''
    glyphs = dataclasses.replace(runs[0], env=dict(CIFAR100_DATASET='glyph100_in_memory'))
    assert get_columns([glyphs])['published'] == {}


def test_controls_of_the_benchmark_lie_beside_it(monkeypatch):
    arguments = ('--pairs', 'resnet32x4_resnet8x4', '--methods', 'kd', 'skd_kd_lr_warmup')
    _, students = plan(cifar100(monkeypatch, *arguments, '--seeds', '1'))
    folders = [run.config.parent.relative_to(ROOT) for run in students]
    assert folders == [Path('configs/cifar100'), Path('benchmarks/accuracy/configs/cifar100')]


def test_a_control_is_another_config_with_settings(monkeypatch):
    arguments = ('--pairs', 'vgg13_vgg8', '--methods', 'skd_kd', *CONTROLS, '--seeds', '1')
    _, students = plan(cifar100(monkeypatch, *arguments))
    assert len({run.work_dir for run in students}) == len(students) == 1 + len(CONTROLS)
    built = {}
    for run in students:
        cfg = Config.fromfile(run.config)
        options = (option.split('=', 1) for option in run.options)
        cfg.merge_from_dict({key: DictAction._parse_iterable(value) for key, value in options})
        cfg.model.teacher_ckpt = None
        built[run.name.split('_vgg')[0]] = MODELS.build(cfg.model).distiller

    def get_loss(name):
        return built[name].distill_losses['loss_kl']

    default = built['skd_kd'].simplifier.max_lam
    assert built['skd_kd-half'].simplifier.max_lam == 0.5 != default
    assert built['skd_kd-classes'].simplifier.attend_over == 'classes'
    assert get_loss('skd_kd-entropy').entropy_grad == 1 != get_loss('skd_kd').entropy_grad
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    simplifier = built['skd_kd-soft'].simplifier.train()
    simplifier.init_weights()
    soft = simplifier(5 * logits) / 4
    torch.testing.assert_close(soft.softmax(1), (0.625 * 5 * logits / 4).softmax(1))
    loss = get_loss('kd-standardised')
    teacher = torch.randn(4, 100, generator=torch.Generator().manual_seed(1))
    expected = loss(logits, teacher)
    torch.testing.assert_close(loss(3 * logits + 1, 0.5 * teacher - 2), expected)
    assert expected > 1e-3


def test_students_share_the_store_of_their_teacher(monkeypatch, tmp_path):
    arguments = ('--pairs', 'vgg13_vgg8', 'resnet56_resnet20', '--store', str(tmp_path))
    teachers, students = plan(cifar100(monkeypatch, *arguments, '--methods', 'kd', 'student'))
    key = 'default_hooks.stored_teacher.path='
    found = {run.name: [o for o in run.options if o.startswith(key)] for run in students}
    assert found['kd_vgg13_vgg8_240e_cifar100'] == [f'{key}{tmp_path}/vgg13']
    assert found['kd_resnet56_resnet20_240e_cifar100'] == [f'{key}{tmp_path}/resnet56']
    assert found['vgg8_240e_cifar100'] == [] == [o for o in teachers[0].options if key in o]


@pytest.mark.parametrize(('dkd', 'said'), [((74.0, 74.5), True), ((75.0, 75.2), False)])
def test_skd_is_read_only_where_a_positive_control_holds(tmp_path, dkd, said):
    values = {'kd_a_b': (73.0, 73.2), 'dkd_a_b': dkd, 'skd_kd-half_a_b': (73.5, 73.6)}
    runs = [
        finished(tmp_path, name, seed, value)
        for name, each in values.items()
        for seed, value in enumerate(each)
    ]
    rows = summarise(runs, METRIC, get_control)
    assert [row.base for row in rows] == ['', 'kd_a_b', 'kd_a_b']
    assert judge(rows).startswith('dkd_a_b is not shown') == said


def test_an_unknown_method_is_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        cifar100(monkeypatch, '--methods', 'skd_fitnets', '--pairs', 'vgg13_vgg8')
    assert 'no configs/cifar100/skd_fitnets_vgg13_vgg8_240e_cifar100.py' in capsys.readouterr().err


@pytest.mark.nightly
def test_a_killed_benchmark_goes_on_and_repeats_nothing(tmp_path):
    command = [
        *(sys.executable, '-m', 'benchmarks.accuracy.compare', *map(str, DIGITS)),
        *('--seeds', '1', '--work-dir', str(tmp_path), '--out', str(tmp_path / 'out.csv')),
        *('--cfg-options', 'model.teacher_ckpt=None', 'train_cfg.max_epochs=2'),
    ]
    plain, ours = (Run(config, 0, tmp_path) for config in DIGITS)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    while plain.result is None or not list(ours.work_dir.glob('*/vis_data')):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    before = (plain.work_dir / 'result.json').stat().st_mtime_ns
    assert ours.result is None

    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert '| skd_kd_resnet14' in output
    assert (plain.work_dir / 'result.json').stat().st_mtime_ns == before
    assert json.loads((ours.work_dir / 'settings.json').read_text())['options'] == command[-2:]
    assert ours.result.keys() >= {'accuracy/top1', 'teacher.accuracy/top1'}

    # As when it is killed between its last checkpoint and its last validation.
    expected = ours.result['accuracy/top1']
    (ours.work_dir / 'result.json').unlink()
    for path in ours.work_dir.glob('*/vis_data/scalars.json'):
        path.unlink()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert ours.result['accuracy/top1'] == expected


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other(tmp_path):
    bad = tmp_path / 'skd_bad.py'
    bad.write_text(
        f"_base_ = ['{DIGITS[1]}']\nmodel = dict(distiller=dict(simplifier=dict(max_lam=7)))\n"
    )
    command = ('-m', 'benchmarks.accuracy.compare', bad, DIGITS[0], '--seeds', '1')
    options = ('--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1')
    output = run_python(*command, *options, 'model.teacher_ckpt=None', returncode=1)
    assert 'skd_bad, seed 0: FAILED, see' in output
    assert '1 of 2 runs failed' in output
    assert '| kd_resnet14' in output
    assert 'simplifier' in (tmp_path / 'skd_bad' / 'seed0' / 'train.log').read_text()


@pytest.mark.parametrize('name', ['result.json', 'settings.json'])
def test_an_emptied_file_of_a_run_names_itself(tmp_path, name):
    run = Run(ROOT / 'configs/digits/resnet10-w4_60e_digits.py', 0, tmp_path)
    run.work_dir.mkdir(parents=True)
    (run.work_dir / name).touch()
    with pytest.raises(ValueError, match=f'seed0/{name}.*expected what a run has written there'):
        train_all([run], [])


def test_a_config_that_does_not_exist_starts_no_training(tmp_path):
    config = ROOT / 'configs/digits/resnet10-w4_60e_digits.py'
    args = argparse.Namespace(seeds=1, jobs=1, work_dir=tmp_path, cfg_options=[])
    assert len(make_runs([config], args)) == 1
    with pytest.raises(ValueError, match=r"config='.*none\.py'"):
        make_runs([config, tmp_path / 'none.py'], args)
    with pytest.raises(SystemExit, match='expected a name of its own for each'):
        make_runs([config, config], args)
    assert not list(tmp_path.iterdir())

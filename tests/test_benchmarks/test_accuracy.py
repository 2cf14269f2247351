"""Runs over seeds: each is trained once, whatever happens to the command."""

import argparse
import json
import signal
import subprocess
import sys
import time

import pytest

from benchmarks.accuracy.runs import Run, make_runs, train_all

from ..conftest import ROOT, run_python
from .finished_runs import finished

DIGITS = [
    ROOT / 'configs' / 'digits' / f'{name}_resnet14-w16_resnet10-w4_60e_digits.py'
    for name in ('kd', 'skd_kd')
]


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

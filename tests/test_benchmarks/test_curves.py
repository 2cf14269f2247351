"""Loss curves of two configs, paired by seed."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.accuracy import curves
from benchmarks.accuracy.runs import Run

from ..conftest import ROOT

BASE = ROOT / 'configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py'
CONFIG = ROOT / 'benchmarks/accuracy/configs/digits/skd_kd_bfloat16_teacher.py'


def log(run, start, records):
    path = run.work_dir / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    lines = [json.dumps(dict(epoch=e, step=s, loss=loss, lr=0.1)) for e, s, loss in records]
    path.write_text('\n'.join(lines) + '\n')


def test_a_resumed_run_counts_no_step_twice(tmp_path):
    run = Run(Path('skd_kd.py'), 0, tmp_path)
    log(run, '20260101', [(1, 10, 4.0), (1, 20, 2.0), (2, 30, 9.0)])
    log(run, '20260102', [(2, 30, 1.5), (2, 40, 0.5)])
    assert curves.read_curve(run).tolist() == [3.0, 1.0]


@pytest.mark.nightly
def test_a_teacher_in_bfloat16_is_compared_by_seed(monkeypatch, tmp_path, capsys):
    options = ('--cfg-options', 'model.teacher_ckpt=None', 'train_cfg.max_epochs=2')
    options += ('model.distiller.simplifier.start_factor=1',)
    places = ('--work-dir', tmp_path, '--out', tmp_path / 'curves.png')
    arguments = map(str, (BASE, CONFIG, '--seeds', 2, *places, *options))
    monkeypatch.setattr(sys, 'argv', ['curves', *arguments])
    curves.main()
    lines = capsys.readouterr().out.splitlines()
    cells = [line.strip('| ').split(' | ') for line in lines if line.startswith('| ')]
    seeds = [list(map(float, row)) for row in cells if row[0] in ('0', '1')]
    (loss,) = (row for row in cells if row[0] == 'last loss')
    differences = [other - base for _, base, other, *_ in seeds]
    assert all(differences)
    assert float(loss[1].split(' [')[0]) == pytest.approx(sum(differences) / 2, abs=2e-4)
    # The seeds are far more apart than the two teachers.
    assert max(map(abs, differences)) < float(loss[2])
    for config in (BASE, CONFIG):
        run = Run(config, 1, tmp_path)
        place = 1 if config == BASE else 2
        assert curves.read_curve(run)[-1] == pytest.approx(seeds[1][place], abs=1e-4)
    assert (tmp_path / 'curves.png').read_bytes()[1:4] == b'PNG'
    logs = {c: (Run(c, 0, tmp_path).work_dir / 'train.log').read_text() for c in (BASE, CONFIG)}
    assert [c for c in logs if 'FrozenTeacherHook: folded' in logs[c]] == [CONFIG]

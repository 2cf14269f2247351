"""Tables of runs: each method is compared with the one that it has to be compared with."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.accuracy.cifar100 import METRIC, get_columns, get_control, judge
from benchmarks.accuracy.runs import Run
from benchmarks.accuracy.summary import plot, summarise, to_markdown, write_csv

from .finished_runs import finished


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


def test_nothing_is_read_without_a_positive_control(tmp_path):
    runs = [finished(tmp_path, name, 0, 70.0) for name in ('kd_a_b', 'skd_kd_a_b')]
    assert judge(summarise(runs, METRIC, get_control)).startswith('No positive control was run')
    assert judge(summarise(runs[:1], METRIC, get_control)) == ''


def test_the_table_has_the_hours_of_a_run(tmp_path):
    run = finished(tmp_path, 'kd_a_b', 0, 70.0)
    (run.work_dir / 'start' / 'vis_data').mkdir(parents=True)
    records = [json.dumps(dict(lr=0.1, time=t, step=s)) for t, s in ((1.0, 100), (3.0, 1800))]
    (run.work_dir / 'start' / 'vis_data' / 'scalars.json').write_text('\n'.join(records) + '\n')
    assert get_columns([run])['hours a run'] == {'kd_a_b': '1.00'}

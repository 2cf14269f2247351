"""Curves and tables of runs, from what mmengine logged."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from skd_mmrazor.utils.scalars import read_scalars

from ..conftest import ROOT
from ..digits_runs import KD, train

sys.path.insert(0, str(ROOT / 'tools' / 'analysis_tools'))
import plot_curves

HOOK = dict(type='mmrazor.SimplifierVisualizationHook', interval=2)


@pytest.fixture(scope='module')
def work_dirs(tmp_path_factory):
    """Two epochs of KD and of SKD, side by side."""
    root = tmp_path_factory.mktemp('runs')
    train(root / 'kd', KD)
    train(root / 'skd', custom_hooks=[HOOK], **{'model.distiller.simplifier.learn_lam': False})
    return root / 'kd', root / 'skd'


def scalars(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    return path, [json.loads(line) for line in path.read_text().splitlines()]


def panels(runs):
    return {ax.get_title(loc='left'): ax for ax in plot_curves.draw(runs).axes}


def test_the_curves_are_the_log(work_dirs):
    runs = [plot_curves.LoggedRun.load(path, path.name) for path in work_dirs]
    axes = panels(runs)
    accuracy = axes['Validation top-1 (%)']
    for line, work_dir in zip(accuracy.lines[::2], work_dirs, strict=False):
        records = [r for r in scalars(work_dir)[1] if 'accuracy/top1' in r]
        assert np.array_equal(line.get_xdata(), [1, 2])
        assert np.array_equal(line.get_ydata(), [r['accuracy/top1'] for r in records])
    assert accuracy.lines[1].get_ydata()[0] == records[-1]['teacher.accuracy/top1']
    assert accuracy.texts[0].get_text() == f'teacher {records[-1]["teacher.accuracy/top1"]:.2f}'

    logged = [r for r in scalars(work_dirs[1])[1] if 'lr' in r]
    for title, key in {
        'Loss of the student on the labels': 'student.loss',
        'Distillation: loss_kl': 'distill.loss_kl',
        'Entropy of the target (nats); dashed: the teacher': 'distill.simplified_entropy',
        'Agreement with the teacher': 'distill.top1_agreement',
        'λ': 'distill.lam',
    }.items():
        by_epoch = [np.mean([r[key] for r in logged if r['epoch'] == e]) for e in (1, 2)]
        lines = [line for line in axes[title].lines if line.get_color() == plot_curves.COLORS[1]]
        assert np.allclose(lines[0].get_ydata(), by_epoch), title


def test_what_was_logged_once_can_be_seen():
    run = plot_curves.LoggedRun('one epoch', [{'step': 1, 'epoch': 1, 'loss': 2.0}], [], None)
    run.val = [{'step': 1, 'accuracy/top1': 70.0}]
    for title, ax in panels([run]).items():
        (line,) = ax.lines
        assert line.get_marker() == 'o', title
    run.val.append({'step': 2, 'accuracy/top1': 71.0})
    assert panels([run])['Validation top-1 (%)'].lines[0].get_marker() == ''


def test_a_run_without_skd_has_no_panels_of_it(work_dirs):
    axes = panels([plot_curves.LoggedRun.load(work_dirs[0], 'kd')])
    assert len(axes) == 3
    assert 'λ' not in axes


def test_what_was_resumed_overrides_what_it_repeats(work_dirs, tmp_path):
    shutil.copytree(work_dirs[1], tmp_path / 'run')
    _, records = scalars(tmp_path / 'run')
    later = tmp_path / 'run' / '99991231_000000' / 'vis_data' / 'scalars.json'
    later.parent.mkdir(parents=True)
    resumed = [{**r, 'accuracy/top1': 12.5} for r in records if r['step'] == 2 and 'lr' not in r]
    later.write_text('\n'.join(map(json.dumps, resumed)))
    first = next(r['accuracy/top1'] for r in records if 'accuracy/top1' in r)
    run = plot_curves.LoggedRun.load(tmp_path / 'run', 'run')
    assert run.accuracies() == [(1, first), (2, 12.5)]


def log(work_dir, start, records):
    path = work_dir / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(map(json.dumps, records)))
    return path


def epochs(first, last, accuracy):
    """What is logged of some epochs, of three iterations each."""
    for epoch in range(first, last + 1):
        yield {'lr': 0.1, 'loss': 1.0 / epoch, 'epoch': epoch, 'step': 3 * epoch}
        yield {'accuracy/top1': accuracy + epoch, 'step': epoch}


def test_a_run_that_was_started_anew_takes_nothing_from_the_old_one(tmp_path):
    """The old run was longer; only the new one is drawn."""
    log(tmp_path, '20240101_000000', epochs(1, 5, 80))
    log(tmp_path, '20240102_000000', epochs(1, 2, 10))
    run = plot_curves.LoggedRun.load(tmp_path, 'run')
    assert run.accuracies() == [(1, 11), (2, 12)]
    assert run.summary()['best'] == '12.00 (epoch 2)'
    assert run.curve('loss') == [(1, 1.0), (2, 0.5)]
    # One that was resumed after the first epoch keeps that, and no more.
    log(tmp_path, '20240103_000000', epochs(2, 3, 20))
    assert plot_curves.LoggedRun.load(tmp_path, 'run').accuracies() == [(1, 11), (2, 22), (3, 23)]


def test_what_a_resumed_run_logs_more_rarely_still_replaces_what_it_repeats(tmp_path):
    """Resumed after the iteration 3: its first record comes an interval later."""
    log(tmp_path, '20240101_000000', [{'lr': 0.1, 'step': step} for step in range(1, 7)])
    log(tmp_path, '20240102_000000', [{'lr': 0.1, 'step': step} for step in (6, 9)])
    assert [record['step'] for record in read_scalars(tmp_path)['train']] == [1, 2, 3, 6, 9]


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_run_by_iterations_has_its_validations_where_they_were(tmp_path, by_epoch):
    """In a training by mmengine, which calls each of them one of epoch 0, or of its iteration."""
    train(
        tmp_path,
        custom_hooks=[],
        **{
            'train_cfg': dict(_delete_=True, by_epoch=False, max_iters=6, val_interval=3),
            'train_dataloader.sampler.type': 'InfiniteSampler',
            'param_scheduler.by_epoch': False,
            'param_scheduler.convert_to_iter_based': False,
            'default_hooks.logger': dict(interval=1, log_metric_by_epoch=by_epoch),
            'default_hooks.checkpoint': dict(interval=3, by_epoch=False),
        },
    )
    logged = [r['accuracy/top1'] for r in scalars(tmp_path)[1] if 'accuracy/top1' in r]
    run = plot_curves.LoggedRun.load(tmp_path, 'run')
    assert run.accuracies() == list(zip([3, 6], logged, strict=True))
    assert run.summary()['best'].endswith(f'(iteration {3 if logged[0] >= logged[1] else 6})')
    assert [x for x, _ in run.curve('loss')] == [1, 2, 3, 4, 5, 6]


def test_a_log_that_was_cut_is_read_to_there(tmp_path):
    path = log(tmp_path, '20240101_000000', epochs(1, 2, 10))
    whole = path.read_text()
    path.write_text(whole[:-5])
    assert plot_curves.LoggedRun.load(tmp_path, 'run').accuracies() == [(1, 11)]
    path.write_text(f'{whole}\n\n')
    assert plot_curves.LoggedRun.load(tmp_path, 'run').accuracies() == [(1, 11), (2, 12)]


@pytest.mark.parametrize('line', ['"lr": 0.1}', '[1]', '{"lr": 0.1}', '{"lr": 0.1, "step": "1"}'])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = log(tmp_path, '20240101_000000', epochs(1, 2, 10))
    path.write_text(f'{line}\n{path.read_text()}')
    with pytest.raises(ValueError, match=r'scalars\.json, line 1: '):
        plot_curves.LoggedRun.load(tmp_path, 'run')


def test_a_page_holds_all_that_it_shows(monkeypatch, work_dirs, tmp_path, capsys):
    arguments = [
        *map(str, work_dirs),
        '--legend',
        'KD',
        'SKD & KD',
        '--out',
        str(tmp_path / 'c.png'),
    ]
    monkeypatch.setattr(sys, 'argv', ['plot_curves.py', *arguments])
    plot_curves.main()
    assert Image.open(tmp_path / 'c.png').size[0] > 1000
    page = (tmp_path / 'c.html').read_text()
    HTMLParser().feed(page)
    # Nothing is loaded from elsewhere.
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert all(s.startswith(('data:image/png;base64,', '#')) for s in sources), set(sources)
    assert any(s.startswith('data:') for s in sources), 'the picture of the hook'
    assert '<script' not in page
    assert 'SKD &amp; KD' in page
    last = scalars(work_dirs[1])[1][-1]
    assert f'<td>{last["accuracy/top1"]:.2f}</td>' in page
    assert f'accuracy/top1: {last["accuracy/top1"]:.2f}' in capsys.readouterr().out
    assert '<td>+0.100</td>' in page, 'λ'


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(SystemExit, match=f'{tmp_path}: no .*scalars.json'):
        plot_curves.LoggedRun.load(tmp_path, 'run')


def test_names_that_do_not_fit_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['plot_curves.py', 'a', 'b', '--legend', 'A'])
    with pytest.raises(SystemExit):
        plot_curves.parse_args()
    assert '--legend has 1 names, expected 2' in capsys.readouterr().err

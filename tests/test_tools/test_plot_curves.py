"""Curves and tables of runs, from what mmengine logged."""

import json
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

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
    runs = [plot_curves.Run.load(path, path.name) for path in work_dirs]
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


def test_a_run_without_skd_has_no_panels_of_it(work_dirs):
    axes = panels([plot_curves.Run.load(work_dirs[0], 'kd')])
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
    run = plot_curves.Run.load(tmp_path / 'run', 'run')
    assert run.accuracies() == [(1, first), (2, 12.5)]


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
        plot_curves.Run.load(tmp_path, 'run')


def test_names_that_do_not_fit_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['plot_curves.py', 'a', 'b', '--legend', 'A'])
    with pytest.raises(SystemExit):
        plot_curves.parse_args()
    assert '--legend has 1 names, expected 2' in capsys.readouterr().err

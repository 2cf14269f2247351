"""The statistics of the simplifier reach the log and all visual backends."""

import json
import re
from importlib.util import find_spec

import numpy as np
import pytest
from mmengine.runner import Runner

from ..digits_runs import digits

KEYS = ['teacher_entropy', 'simplified_entropy', 'top1_agreement', 'lam']
TENSORBOARD = find_spec('tensorboard') is not None


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Two epochs of SKD that are logged at every iteration, to all that can be.

    The work directory, and the logits before and after the simplifier, by iteration.
    """
    work_dir = tmp_path_factory.mktemp('run')
    backends = [dict(type='LocalVisBackend')]
    backends += [dict(type='TensorboardVisBackend')] * TENSORBOARD
    cfg = digits(
        work_dir,
        **{
            'visualizer.vis_backends': backends,
            'default_hooks.logger.interval': 1,
            'log_processor': dict(window_size=1),
            'custom_hooks': [dict(type='mmrazor.SimplifierVisualizationHook', interval=1)],
            'model.distiller.log_interval': 1,
            'model.distiller.simplifier.max_lam': 0.9,
            # Targets that differ, of a teacher that is not trained.
            'model.teacher.head.init_cfg': dict(type='Normal', layer='Linear', std=5.0),
        },
    )
    runner, pairs = Runner.from_cfg(cfg), []

    def keep(module, inputs, output):
        if output.requires_grad:  # Not while the hook draws.
            lam = float(module.current_lam)
            pairs.append((inputs[0].tolist(), output.tolist(), lam))

    runner.model.distiller.simplifier.register_forward_hook(keep)
    runner.train()
    return work_dir, pairs


@pytest.fixture
def work_dir(run):
    return run[0]


@pytest.fixture
def scalars(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if 'lr' in record]


def by_hand(before, after, lam):
    """The four numbers of an iteration, in float64, at the temperature of 4."""

    def entropy(logits):
        shares = np.exp(logits / 4) / np.exp(logits / 4).sum(axis=1, keepdims=True)
        return -(shares * np.log(shares)).sum(axis=1).mean()

    before, after = np.array(before, dtype=float), np.array(after, dtype=float)
    same = before.argmax(axis=1) == after.argmax(axis=1)
    return [entropy(before), entropy(after), same.mean(), lam]


def test_the_log_has_the_statistics_in_every_line(run, scalars):
    """In the text and in the file of numbers: those that are computed here by hand."""
    work_dir, pairs = run
    (log,) = work_dir.glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'Epoch(train)' in line]
    assert len(lines) == len(scalars) == len(pairs) == 6
    for line, record, pair in zip(lines, scalars, pairs, strict=True):
        expected = by_hand(*pair)
        assert [record[f'distill.{k}'] for k in KEYS] == pytest.approx(expected, rel=1e-4)
        found = [float(re.search(rf'  distill\.{k}: (\S+)', line)[1]) for k in KEYS]
        assert found == pytest.approx(expected, abs=6e-5)
        assert expected[0] != pytest.approx(expected[1], abs=1e-3)
    assert scalars[-1]['distill.lam'] != 0


@pytest.mark.skipif(not TENSORBOARD, reason='tensorboard is not installed')
def test_tensorboard_has_the_statistics_and_the_pictures(work_dir, scalars):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (path,) = work_dir.glob('*/vis_data/events.out.tfevents.*')
    events = EventAccumulator(str(path))
    events.Reload()
    for key in KEYS:
        points = events.Scalars(f'distill.{key}')
        assert [p.step for p in points] == [r['step'] for r in scalars]
        assert [p.value for p in points] == pytest.approx([r[f'distill.{key}'] for r in scalars])
    images = events.Images('simplification')
    assert [image.step for image in images] == [1, 2]
    assert images[0].width > 1000

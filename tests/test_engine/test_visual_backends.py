"""What the simplifier does can be followed while it trains."""

import json
from importlib.util import find_spec

import pytest

from ..digits_runs import train

KEYS = ['teacher_entropy', 'simplified_entropy', 'top1_agreement', 'lam']
TENSORBOARD = find_spec('tensorboard') is not None


@pytest.fixture(scope='module')
def work_dir(tmp_path_factory):
    """Two epochs of SKD that are logged at every iteration, to all that can be."""
    work_dir = tmp_path_factory.mktemp('run')
    backends = [dict(type='LocalVisBackend')]
    backends += [dict(type='TensorboardVisBackend')] * TENSORBOARD
    train(
        work_dir,
        custom_hooks=[dict(type='mmrazor.SimplifierVisualizationHook', interval=1)],
        **{'visualizer.vis_backends': backends, 'default_hooks.logger.interval': 1},
    )
    return work_dir


@pytest.fixture
def scalars(work_dir):
    (path,) = work_dir.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if 'lr' in record]


def test_the_log_has_the_statistics_in_every_line(work_dir, scalars):
    (log,) = work_dir.glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'Epoch(train)' in line]
    assert len(lines) == len(scalars) == 6
    for line, record in zip(lines, scalars, strict=True):
        for key in KEYS:
            assert f'  distill.{key}: {record[f"distill.{key}"]:.4f}' in line


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

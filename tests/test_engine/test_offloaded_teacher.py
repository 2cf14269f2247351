import re
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .runs import difference, logged, weights
from .stored_teachers import VALIDATION, run

OFFLOAD = dict(offload=True)
SETTINGS = dict(VALIDATION, train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1))
CHECKPOINT = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)))
MAPS = dict(type='mmengine.Maps')


@HOOKS.register_module(force=True)
class Maps(Hook):
    """Notes after each step whether the weights are in a mapped file, and what it has in memory."""

    def before_train(self, runner):
        self.mapped = []

    def after_train_iter(self, runner, *_, **__):
        spans, resident = [], 0
        for line in Path('/proc/self/smaps').read_text().splitlines():
            if re.match('[0-9a-f]+-', line):
                ends = [int(end, 16) for end in line.split()[0].split('-')]
                ours = line.endswith('(deleted)') and str(runner.work_dir) in line
                spans += [ends] * ours
            elif line.startswith('Rss:') and ours:
                resident += int(line.split()[1])
        addresses = [p.data_ptr() for p in runner.model.teacher.parameters()]
        mapped = {any(start <= a < end for start, end in spans) for a in addresses}
        self.mapped.append((mapped, resident > 0))


def get_mapped(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, Maps)).mapped


def get_checkpoint(folder):
    return torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']


@pytest.mark.parametrize('stored', [True, False])
def test_a_teacher_that_is_offloaded_changes_nothing(tmp_path, stored):
    """It reads the store of another run, or fills one of its own."""
    live = run(tmp_path / 'live', tmp_path / 'store', **SETTINGS, **CHECKPOINT)
    path, hooks = tmp_path / ('store' if stored else 'own'), [MAPS]
    runner = run(tmp_path / 'run', path, hook=OFFLOAD, hooks=hooks, **SETTINGS, **CHECKPOINT)
    assert get_mapped(runner) == [({True}, not stored)] * 8
    assert runner.watch.images == (0 if stored else 64)
    assert difference(weights(runner.model), weights(live.model)) == 0
    assert logged(runner, 'teacher.accuracy/top1') == logged(live, 'teacher.accuracy/top1')
    ours, theirs = get_checkpoint(tmp_path / 'run'), get_checkpoint(tmp_path / 'live')
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_without_it_the_weights_stay_in_memory(tmp_path):
    runner = run(tmp_path / 'run', tmp_path / 'store', hooks=[MAPS])
    assert get_mapped(runner) == [({False}, False)] * 8


def test_beside_a_copy_it_is_refused(tmp_path):
    hooks = [dict(type='mmrazor.FrozenTeacherHook')]
    with pytest.raises(ValueError, match='offload=True, expected False beside a FrozenTeacherH'):
        run(tmp_path / 'run', tmp_path / 'store', hook=OFFLOAD, hooks=hooks)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize(('name', 'images'), [('writer', 64), ('reader', 0)])
def test_on_a_gpu_it_is_back_where_it_is_needed(tmp_path, name, images):
    if name == 'reader':
        run(tmp_path / 'first', tmp_path / 'store', **SETTINGS)
    runner = run(tmp_path / name, tmp_path / 'store', hook=OFFLOAD, hooks=[MAPS], **SETTINGS)
    assert runner.watch.images == images
    assert get_mapped(runner) == [({not images}, False)] * 8
    assert {p.device.type for p in runner.model.teacher.parameters()} == {'cuda'}
    assert len(logged(runner, 'teacher.accuracy/top1')) == 2

"""The teacher of ``FrozenTeacherHook`` says what it said, and computes less for it."""

import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode

from skd_mmrazor.engine import FrozenTeacherHook
from skd_mmrazor.engine.utils import keep_random_state, replace_forward

from .frozen_teachers import DATA, EAGER, LABELS, OFF, active, model, run, teacher_with_dropout
from .runs import difference, loader, logged, run_config, teacher, weights

PARTS = {
    'fold_bn': dict(OFF, fold_bn=True),
    'skip_loss': dict(OFF, skip_loss=True),
    'channels_last': dict(OFF, channels_last=True),
    'compile': dict(OFF, compile=EAGER),
    'dtype': dict(OFF, dtype='bfloat16'),
    'all': dict(channels_last=True, dtype='bfloat16', compile=EAGER),
}
VALIDATION = dict(
    train_cfg=dict(by_epoch=False, max_iters=2, val_interval=2),
    val_dataloader=loader('val', 16, 8),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop'),
)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return run(tmp_path_factory.mktemp('plain'))


def by_speed():
    slow = pytest.mark.slow
    return [pytest.param(p, marks=slow if 'compile' in PARTS[p] else ()) for p in PARTS]


@pytest.mark.parametrize('part', by_speed())
def test_the_student_learns_the_same_to_rounding(tmp_path, plain, part):
    torch._dynamo.reset()
    runner = run(tmp_path, PARTS[part])
    assert active(runner) == (set(PARTS) - {'all'} if part == 'all' else {part})
    half = 'dtype' in PARTS[part]
    for key in ('student.loss', 'distill.loss_kl', 'distill.teacher_entropy', 'loss'):
        tolerance = 0.1 if half else 1e-4
        assert logged(runner, key) == pytest.approx(logged(plain, key), rel=tolerance), key
    assert difference(weights(runner.model), weights(plain.model)) < (1e-2 if half else 1e-5)


def test_the_teacher_is_saved_and_loaded_as_without_the_hook(tmp_path, plain):
    """Two iterations with the hook, two more with it or without: as four without."""
    everything = dict(channels_last=True, dtype='bfloat16')
    first = run(tmp_path / 'first', everything, iters=2)
    assert 'forward' not in vars(first.model.teacher)
    copies = [hook.frozen for hook in first.hooks if isinstance(hook, FrozenTeacherHook)]
    assert copies == [None], 'the memory is free again'
    for hook in (everything, None):
        runner = run(
            tmp_path / f'resumed {hook is None}',
            hook,
            resume=True,
            load_from=str(tmp_path / 'first' / 'iter_2.pth'),
        )
        assert logged(runner, 'loss') == pytest.approx(logged(plain, 'loss')[2:], rel=0.1)
        ours, theirs = (torch.load(f'{r.work_dir}/iter_4.pth') for r in (runner, plain))
        assert list(ours['state_dict']) == list(theirs['state_dict'])
        for key, value in theirs['state_dict'].items():
            if key.startswith('teacher.'):
                assert torch.equal(ours['state_dict'][key], value), key


def test_validation_runs_the_teacher_itself(tmp_path, monkeypatch):
    """In its own precision, with all its norms."""
    seen = []
    predict = ImageClassifier.predict

    def watch(self, *args, **kwargs):
        seen.append(self)
        return predict(self, *args, **kwargs)

    monkeypatch.setattr(ImageClassifier, 'predict', watch)
    runner = run(tmp_path, dict(dtype='bfloat16'), **VALIDATION)
    assert seen.count(runner.model.teacher) == 2
    assert set(map(id, seen)) == {id(runner.model.teacher), id(runner.model.student)}


def test_dropout_stays_on_unless_it_is_switched_off(tmp_path):
    hooks = dict(
        plain=None,
        same={},
        off=dict(eval_mode=True),
        parts=dict(eval_mode=True, channels_last=True),
    )
    settings = model(teacher=teacher_with_dropout())
    losses = {
        name: logged(run(tmp_path / name, hook, **settings), 'distill.loss_kl')
        for name, hook in hooks.items()
    }
    assert losses['same'] == pytest.approx(losses['plain'], rel=1e-5)
    assert losses['off'][0] != pytest.approx(losses['plain'][0], rel=1e-2)
    assert losses['parts'] == pytest.approx(losses['off'], rel=1e-4)


class Operators(TorchDispatchMode):
    """Counts what is computed, by operator."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket._qualified_op_name.split('::')[1]] += 1
        return func(*args, **(kwargs or {}))


class CountLast(Hook):
    """Counts the operators of the last iteration, when the teacher is prepared."""

    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 3:
            self.mode = Operators()
            self.mode.__enter__()

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter == 3:
            self.mode.__exit__(None, None, None)


def count(work_dir, hook):
    hooks = [] if hook is None else [dict(type='mmrazor.FrozenTeacherHook', **hook)]
    runner = Runner.from_cfg(run_config(work_dir, custom_hooks=hooks))
    last = CountLast()
    runner.register_hook(last)
    runner.train()
    return last.mode.calls


def test_the_teacher_computes_less_with_the_hook(tmp_path):
    """What the hook is for: no batch norm of its own, and one loss, the student's."""
    plain, spared = count(tmp_path / 'plain', None), count(tmp_path / 'spared', {})

    def norms(calls):
        return sum(number for name, number in calls.items() if 'batch_norm' in name)

    assert norms(plain) > 5
    assert norms(spared) == 0
    assert plain['nll_loss_forward'] == 2
    assert spared['nll_loss_forward'] == 1
    assert plain['convolution'] == spared['convolution'] > 10


def test_a_record_of_the_loss_is_kept_where_the_loss_is(tmp_path):
    settings = model(teacher_recorders=LABELS)
    kept = run(tmp_path, dict(skip_loss=False), **settings)
    assert active(kept) == {'fold_bn'}


def test_the_copy_gets_what_pre_hooks_of_the_teacher_make_of_a_batch(tmp_path):
    """As those that normalise it otherwise; here, from the first batch on, three channels."""
    coloured = teacher()
    coloured['backbone']['in_channels'] = 3
    hooks = [dict(type='mmrazor.FrozenTeacherHook')]
    cfg = run_config(tmp_path, iters=1, custom_hooks=hooks, **model(teacher=coloured))
    runner = Runner.from_cfg(cfg)
    runner.model.teacher.register_forward_pre_hook(
        lambda _, inputs: (torch.cat([inputs[0]] * 3, dim=1), *inputs[1:])
    )
    runner.train()
    assert runner.iter == 1


@MODELS.register_module(force=True)
class TakingPreprocessor(ClsDataPreprocessor):
    """Takes the images out of the batch that it is given."""

    def forward(self, data, training=False):
        return super().forward({key: data.pop(key) for key in [*data]}, training)


def test_the_first_batch_is_whole_after_the_preparation(tmp_path):
    settings = model()
    settings['model']['data_preprocessor'] = dict(DATA, type='mmpretrain.TakingPreprocessor')
    assert run(tmp_path, {}, iters=1, **settings).iter == 1


def test_only_a_training_step_runs_something_else():
    teacher = SimpleNamespace(forward=lambda *batch, mode: mode)
    algorithm = SimpleNamespace(teacher=teacher)
    replace_forward(algorithm, lambda *batch: 'else')
    for algorithm.training in (True, False):
        found = [teacher.forward(None, mode=mode) for mode in ('tensor', 'predict', 'loss')]
        assert found == ['tensor', 'predict', 'else' if algorithm.training else 'loss']


@pytest.mark.parametrize('draw', [random.random, np.random.rand, lambda: torch.rand(()).item()])
def test_what_the_preparation_draws_is_drawn_by_the_run_again(draw):
    with keep_random_state() as has_drawn:
        assert not has_drawn()
        first = draw()
        assert has_drawn()
    assert draw() == first

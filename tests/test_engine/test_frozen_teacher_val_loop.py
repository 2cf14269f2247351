import pytest
import torch
from mmengine.runner import Runner

from .runs import loader, logged, run_config

KEY = 'teacher.accuracy/top1'


def config(work_dir, evaluate_teacher='once', size=16, **settings):
    """Four iterations, a validation after each two: two batches of eight digits."""
    cfg = run_config(
        work_dir,
        train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
        val_dataloader=loader('val', size, 8),
        val_evaluator=dict(type='Accuracy', topk=(1,)),
        val_cfg=dict(type='mmrazor.FrozenTeacherValLoop', evaluate_teacher=evaluate_teacher),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=1)),
    )
    cfg.merge_from_dict(settings)
    return cfg


def run(*arguments, train=True, **settings):
    """Trains; returns the runner and how many batches the teacher saw in validation."""
    runner = Runner.from_cfg(config(*arguments, **settings))
    runner.seen, runner.modes = {'teacher': 0, 'student': 0}, {}
    for name in runner.seen:
        _watch(runner, name)
    runner.train() if train else runner.val()
    return runner


def _watch(runner, name):
    model = getattr(runner.model, name)
    predict = model.predict

    def counted(*args, **kwargs):
        runner.seen[name] += 1
        dtype = model.head.fc(torch.ones_like(model.head.fc.weight)).dtype
        runner.modes[name] = dtype, torch.is_grad_enabled()
        return predict(*args, **kwargs)

    model.predict = counted


@pytest.fixture(scope='module')
def once(tmp_path_factory):
    return run(tmp_path_factory.mktemp('once'))


def test_a_frozen_teacher_is_validated_once_and_logged_every_time(tmp_path, once):
    assert once.seen == dict(teacher=2, student=4)
    always = run(tmp_path, 'always')
    assert always.seen == dict(teacher=4, student=4)
    assert logged(once, KEY) == logged(always, KEY)
    assert len(logged(once, KEY)) == 2


def test_it_need_not_be_validated(tmp_path):
    never = run(tmp_path, 'never')
    assert never.seen == dict(teacher=0, student=4)
    assert len(logged(never, 'accuracy/top1')) == 2
    assert logged(never, KEY) == []


def resume(work_dir, once, **settings):
    # mmengine saves before it validates, so iter_2 does not have the number yet.
    checkpoint = f'{once.work_dir}/iter_3.pth'
    return run(work_dir, resume=True, load_from=checkpoint, **settings)


def test_a_resumed_run_keeps_the_number(tmp_path, once):
    resumed = resume(tmp_path, once)
    assert resumed.seen == dict(teacher=0, student=2)
    assert logged(resumed, KEY) == logged(once, KEY)[1:]


def test_other_data_are_validated_anew(tmp_path, once):
    assert resume(tmp_path, once, size=24).seen['teacher'] == 3


def test_other_metrics_are_computed_anew(tmp_path, once):
    resumed = resume(tmp_path, once, val_evaluator=dict(type='Accuracy', topk=(1, 2)))
    assert resumed.seen['teacher'] == 2
    assert len(logged(resumed, 'teacher.accuracy/top2')) == 1
    assert logged(resumed, KEY) == logged(once, KEY)[1:]


def test_another_normalisation_is_validated_anew(tmp_path):
    """At the top of the config too, where mmpretrain has it."""

    def fingerprint(mean):
        cfg = config(tmp_path)
        cfg.data_preprocessor = dict(cfg.model.pop('data_preprocessor'), mean=[mean])
        return Runner.from_cfg(cfg).val_loop._fingerprint()

    assert fingerprint(78.4) == fingerprint(78.4) != fingerprint(0.0)


def test_another_precision_is_validated_anew(tmp_path, once):
    resumed = resume(tmp_path, once, **{'val_cfg.fp16': True})
    assert resumed.seen['teacher'] == 2
    assert resumed.modes['teacher'] == resumed.modes['student'] != (torch.float32, False)
    assert once.modes == dict.fromkeys(('teacher', 'student'), (torch.float32, False))


def test_another_teacher_is_validated_anew(tmp_path, once):
    checkpoint = torch.load(f'{once.work_dir}/iter_3.pth')
    checkpoint['state_dict']['teacher.head.fc.bias'][8] += 1e4
    torch.save(checkpoint, tmp_path / 'iter_3.pth')
    resumed = run(tmp_path / 'run', resume=True, load_from=str(tmp_path / 'iter_3.pth'))
    assert resumed.seen['teacher'] == 2
    assert logged(resumed, KEY) == [31.25]  # five of the sixteen digits are an 8


@pytest.mark.parametrize(
    ('value', 'model', 'expected'),
    [
        ('sometimes', {}, "'once', 'always' or 'never'"),
        (True, {}, "'once', 'always' or 'never'"),
        ('once', {'model.teacher_trainable': True}, "'always' or .*teacher_trainable=True"),
        ('once', {'model.teacher_norm_eval': False}, "'always' or .*teacher_norm_eval=False"),
    ],
)
def test_a_value_that_cannot_be_is_named(tmp_path, value, model, expected):
    match = f'val_cfg.evaluate_teacher={value!r}, expected {expected}'
    with pytest.raises(ValueError, match=match):
        run(tmp_path, value, **model)


def test_a_teacher_that_learns_can_always_be_validated(tmp_path):
    assert run(tmp_path, 'always', **{'model.teacher_trainable': True}).seen['teacher'] == 4

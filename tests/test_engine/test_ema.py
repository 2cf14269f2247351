"""mmengine's EMAHook beside a distiller."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .runs import difference, loader, run_config, train, weights

EMA = dict(type='EMAHook', momentum=0.3)
VALIDATION = dict(
    train_cfg=dict(by_epoch=False, max_iters=4, val_interval=2),
    val_dataloader=loader('val', 16, 8),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    val_cfg=dict(type='mmrazor.SingleTeacherDistillValLoop'),
)


class Watch(Hook):
    """Keeps the weights after every iteration, and those that were validated."""

    priority = 'LOWEST'

    def __init__(self):
        self.trained, self.validated = [], []

    def after_train_iter(self, runner, *args, **kwargs):
        self.trained.append(weights(runner.model))

    def before_val_iter(self, runner, *args, **kwargs):
        self.validated.append(weights(runner.model))


def watched(work_dir, hooks, **settings):
    runner = Runner.from_cfg(run_config(work_dir, custom_hooks=hooks, **settings))
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


def average(trained):
    mean = trained[0]
    for new in trained[1:]:
        mean = {k: 0.7 * mean[k] + 0.3 * new[k] for k in mean}
    return mean


def test_the_average_is_validated_and_saved_and_leaves_training_alone(tmp_path):
    _, plain = watched(tmp_path / 'plain', [])
    runner, ema = watched(tmp_path / 'ema', [EMA], **VALIDATION)
    for ours, theirs in zip(ema.trained, plain.trained, strict=True):
        assert difference(ours, theirs) == 0

    # Two validations, of two batches each. Of the teacher's, hooks see nothing.
    assert len(ema.validated) == 4
    for i, validated in enumerate(ema.validated):
        assert difference(validated, average(ema.trained[: 2 if i < 2 else 4])) < 1e-6

    saved = torch.load(tmp_path / 'ema' / 'iter_4.pth')['state_dict']
    expected = average(ema.trained)
    assert difference({k: saved[k] for k in expected}, expected) < 1e-6
    assert difference(expected, ema.trained[-1]) > 1e-3
    for key, value in runner.model.teacher.state_dict().items():
        assert torch.equal(value, saved[f'teacher.{key}']), key


def test_a_resumed_run_continues_the_average(tmp_path):
    # Its schedule depends on the length of the training, which differs.
    hooks = dict(custom_hooks=[EMA], simplifier=dict(start_factor=1))
    train(tmp_path / 'whole', **hooks)
    train(tmp_path / 'parts', iters=2, **hooks)
    train(tmp_path / 'parts', resume=True, **hooks)
    states = [torch.load(tmp_path / d / 'iter_4.pth') for d in ('whole', 'parts')]
    for name in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=0)


def test_the_validation_returns_its_metrics(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path, **VALIDATION))
    metrics = runner.val()
    assert metrics.keys() == {'accuracy/top1', 'teacher.accuracy/top1'}

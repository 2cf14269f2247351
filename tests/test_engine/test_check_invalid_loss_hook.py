import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner, find_latest_checkpoint

from skd_mmrazor.engine import CheckInvalidLossHook

from ..digits_runs import digits


class Spoil(Hook):
    """Calls a function once, in the middle of the second epoch or at its end."""

    priority = 'HIGH'

    def __init__(self, spoil, after_epoch=False):
        self.spoil, self.after_epoch = spoil, after_epoch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if (runner.epoch, batch_idx) == (1, 1) and not self.after_epoch:
            self.spoil(runner.model)

    def after_train_epoch(self, runner):
        if runner.epoch == 1 and self.after_epoch:
            self.spoil(runner.model)


def run_spoilt(work_dir, spoil, **arguments):
    """Trains until the error, whose message it returns."""
    settings = {
        'default_hooks.checkpoint': dict(interval=1, max_keep_ckpts=1),
        'model.distiller.log_interval': 1,
    }
    cfg = digits(work_dir, **settings)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Spoil(spoil, **arguments))
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    return str(error.value)


def assert_first_epoch_is_whole(work_dir):
    last = find_latest_checkpoint(work_dir)
    assert last == str(work_dir / 'epoch_1.pth')
    assert all(v.isfinite().all() for v in torch.load(last)['state_dict'].values())
    assert [path.name for path in work_dir.glob('*.pth')] == ['epoch_1.pth']


def spoil_distillation(model):
    model.distiller.distill_losses.loss_kl.loss_weight = float('inf')


def spoil_student(model):
    model.student.head.fc.bias.data[3] = float('nan')


def test_stops_at_the_iteration_and_names_the_loss(tmp_path):
    message = run_spoilt(tmp_path, spoil_distillation)
    assert message.startswith(
        'loss=inf, distill.loss_kl=inf at epoch 2, iteration 2 (5 in all), expected finite losses.'
    )
    assert_first_epoch_is_whole(tmp_path)


def test_names_every_loss_that_failed(tmp_path):
    message = run_spoilt(tmp_path, spoil_student)
    assert {'student.loss=nan', 'distill.loss_kl=nan', 'loss=nan'} <= set(
        message.split(' at ')[0].split(', ')
    )


def test_a_teacher_that_fails_is_told_from_a_student_that_does(tmp_path):
    """By its entropy, where the simplifier does not look, as on a GPU."""

    def spoil_teacher(model):
        model.teacher.head.fc.bias.data[3] = float('nan')
        model.distiller.simplifier._check = lambda logits: None

    message = run_spoilt(tmp_path, spoil_teacher)
    assert 'distill.loss_kl=nan, distill.teacher_entropy=nan' in message
    assert 'student.loss' not in message


def test_a_model_that_is_not_finite_is_not_saved(tmp_path):
    message = run_spoilt(tmp_path, spoil_student, after_epoch=True)
    assert message.startswith('architecture.head.fc.bias is not finite after 6 iterations')
    assert_first_epoch_is_whole(tmp_path)


def test_what_is_no_loss_and_no_parameter_may_be_infinite(tmp_path):
    """As a metric of the batch or of the distiller, or the mask of an attention."""
    runner, hook = Runner.from_cfg(digits(tmp_path)), CheckInvalidLossHook()
    logged = {'loss': 1.0, 'perplexity': float('inf'), 'distill.lam': float('nan')}
    for name, value in logged.items():
        runner.message_hub.update_scalar(f'train/{name}', value)
    hook.after_train_iter(runner, 0, outputs=logged)
    runner.model.register_buffer('mask', torch.full((2,), float('-inf')))
    hook.before_save_checkpoint(runner, dict(state_dict=runner.model.state_dict()))
    runner.model.student.head.fc.weight.data[0, 0] = float('-inf')
    with pytest.raises(FloatingPointError, match=r'architecture\.head\.fc\.weight is not finite'):
        hook.before_save_checkpoint(runner, dict(state_dict=runner.model.state_dict()))


def test_without_the_hook_the_run_goes_on_and_saves_what_it_has(tmp_path):
    """Shows the need for the hook; fails once mmengine no longer needs it."""
    runner = Runner.from_cfg(digits(tmp_path, custom_hooks=[]))
    runner.register_hook(Spoil(spoil_student))
    runner.train()
    assert runner.epoch == 2
    last = torch.load(find_latest_checkpoint(tmp_path))['state_dict']
    assert last['architecture.head.fc.bias'].isnan().any()

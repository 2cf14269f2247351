import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner

from ..conftest import algorithm, distiller
from .runs import KL, logged, run_config, student, teacher, train

PREPROCESSOR = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=10, mean=[78.4], std=[96.1])
LOSSES = dict(
    loss_kl=dict(type='KLDivergence', tau=4, loss_weight=0.7),
    loss_dist=dict(type='DISTLoss', tau=4, loss_weight=3),
)


# Its targets stay: a schedule would change the losses.
SIMPLIFIER = dict(type='AttentionSimplifierConnector', start_factor=1)


def warmup(epochs=4, max_epochs=6, losses=KL, interval=-1, **settings):
    """A run that learns nothing, so that only its weights can change a loss."""
    hook = {k: settings.pop(k) for k in ('loss',) if k in settings}
    return dict(
        model=algorithm(
            distiller(losses, simplifier=SIMPLIFIER),
            architecture=student(),
            teacher=teacher(),
            data_preprocessor=PREPROCESSOR,
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        train_dataloader=dict(run_config('')['train_dataloader'], batch_size=32),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=interval, save_last=False),
        ),
        custom_hooks=[dict(type='mmrazor.LossWeightWarmupHook', epochs=epochs, **hook)],
        **settings,
    )


def by_epoch(runner, key):
    """The logged values of each epoch, relative to the last."""
    values = np.array(logged(runner, key))
    return pytest.approx(list(values / values[-1]), rel=1e-5)


def weights(runner):
    return {k: v.loss_weight for k, v in runner.model.distiller.distill_losses.items()}


def test_the_loss_grows_to_its_weight_and_stays_there(tmp_path):
    runner = train(tmp_path, **warmup())
    assert by_epoch(runner, 'distill.loss_kl') == [0.25, 0.5, 0.75, 1, 1, 1]
    assert by_epoch(runner, 'student.loss') == [1] * 6


@pytest.mark.parametrize('loss', [None, *LOSSES])
def test_all_losses_grow_or_the_one_that_is_named(tmp_path, loss):
    runner = train(tmp_path, **warmup(losses=LOSSES, loss=loss, max_epochs=4))
    for name in LOSSES:
        grows = [0.25, 0.5, 0.75, 1] if loss in (None, name) else [1] * 4
        assert by_epoch(runner, f'distill.{name}') == grows


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    whole = train(tmp_path / 'whole', **warmup(interval=2))
    checkpoint = str(tmp_path / 'whole' / 'epoch_2.pth')
    resumed = train(tmp_path / 'resumed', **warmup(load_from=checkpoint, resume=True))
    assert logged(resumed, 'distill.loss_kl') == logged(whole, 'distill.loss_kl')[2:]


def test_a_run_that_ends_in_the_warmup_leaves_the_weights_of_the_config(tmp_path):
    runner = train(tmp_path, **warmup(losses=LOSSES, max_epochs=2))
    assert weights(runner) == dict(loss_kl=0.7, loss_dist=3)


class Stop(Hook):
    def before_train_epoch(self, runner):
        if runner.epoch == 1 and not hasattr(self, 'stopped'):
            self.stopped = True
            raise KeyboardInterrupt


def test_a_run_that_is_interrupted_can_be_taken_up(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path, **warmup(losses=LOSSES)))
    runner.register_hook(Stop(), priority='LOWEST')
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    runner.train()
    assert by_epoch(runner, 'distill.loss_kl') == [0.25, 0.5, 0.75, 1, 1, 1]
    assert weights(runner) == dict(loss_kl=0.7, loss_dist=3)


@pytest.fixture
def _process_group():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures('_process_group')
def test_the_losses_of_a_wrapped_model_grow(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path, **warmup(max_epochs=4)))
    runner.model = MMDistributedDataParallel(runner.model, find_unused_parameters=True)
    runner.train()
    assert by_epoch(runner, 'distill.loss_kl') == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize('epochs', [0, -1, 2.5, True, '20', None])
def test_epochs_that_are_no_number_of_epochs_are_named(epochs):
    from mmrazor.registry import HOOKS

    with pytest.raises(ValueError, match=f'LossWeightWarmupHook: epochs={epochs!r}, expected an'):
        HOOKS.build(dict(type='mmrazor.LossWeightWarmupHook', epochs=epochs))
    HOOKS.build(dict(type='mmrazor.LossWeightWarmupHook', epochs=1))


def refusal(tmp_path, settings, change=lambda runner: None):
    """The message with which the run is refused at its start."""
    runner = Runner.from_cfg(run_config(tmp_path, **settings))
    change(runner)
    with pytest.raises(ValueError, match='expected') as error:
        runner.train()
    assert runner.iter == 0
    return str(error.value)


@pytest.mark.parametrize('loss', ['loss_dkd', '', ['loss_kl'], 3])
def test_a_loss_that_the_distiller_lacks_is_named(tmp_path, loss):
    expected = "expected one of distiller.distill_losses, ['loss_kl']."
    message = refusal(tmp_path, warmup(loss=loss))
    assert message == f'LossWeightWarmupHook: loss={loss!r}, {expected}'


def test_a_model_that_distils_nothing_is_refused(tmp_path):
    settings = warmup()
    settings['model'] = dict(student(), data_preprocessor=PREPROCESSOR)
    assert 'LossWeightWarmupHook: loss=None, expected one of' in refusal(tmp_path, settings)


def test_a_loss_without_a_weight_is_named(tmp_path):
    def change(runner):
        del runner.model.distiller.distill_losses.loss_kl.loss_weight

    message = refusal(tmp_path, warmup(), change)
    assert message.startswith(
        'distiller.distill_losses.loss_kl.loss_weight=None, expected a number'
    )


def test_a_loop_without_epochs_is_refused(tmp_path):
    settings = warmup()
    settings['train_cfg'] = dict(by_epoch=False, max_iters=4)
    message = refusal(tmp_path, settings)
    assert 'LossWeightWarmupHook: train_cfg.by_epoch=False, expected True' in message

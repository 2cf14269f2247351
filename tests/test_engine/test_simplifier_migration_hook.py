"""Runs that continue with another distiller than they began with."""

from math import cos, pi

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from skd_mmrazor.engine import SimplifierMigrationHook

from ..digits_runs import KD, digits, resume, train

SKD = f'skd_{KD}'
LINES = {
    SKD: 'The checkpoint has no simplifier: it starts from its initial weights.',
    KD: 'The checkpoint has a simplifier, the model has none: its weights are ignored.',
}
ONE_GROUP: dict = {}
MANY_GROUPS = {
    'optim_wrapper.paramwise_cfg': dict(custom_keys={'distiller.simplifier': dict(lr_mult=0.1)})
}
LAM = 'distiller.simplifier.lam_logit'


class Snapshot(Hook):
    """What a run has at the start of its first epoch."""

    def before_train_epoch(self, runner):
        if not hasattr(self, 'momentum'):
            self.momentum = momentum(runner)
            self.weights = {k: v.clone() for k, v in runner.model.state_dict().items()}
            self.position = runner.epoch, runner.iter


def momentum(runner):
    """Momentum buffers by the name of their parameter."""
    state = runner.optim_wrapper.optimizer.state
    parameters = runner.model.named_parameters()
    return {name: state[p]['momentum_buffer'].clone() for name, p in parameters if p in state}


def rates(runner):
    """Learning rates by the name of the parameter."""
    names = {id(p): name for name, p in runner.model.named_parameters()}
    groups = runner.optim_wrapper.optimizer.param_groups
    return {names[id(p)]: group['lr'] for group in groups for p in group['params']}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Checkpoints and momentum after an epoch, by distiller and number of groups."""
    found = {}
    for name in (KD, SKD):
        for many in (False, True):
            work_dir = tmp_path_factory.mktemp('run')
            options = MANY_GROUPS if many else ONE_GROUP
            runner = train(work_dir, name, **{**options, 'train_cfg.max_epochs': 1})
            found[name, many] = work_dir / 'epoch_1.pth', momentum(runner)
    return found


def assert_said_once(work_dir, name):
    log = max(work_dir.glob('*/*.log')).read_text()
    assert log.count(LINES[name]) == 1
    assert 'do not match' not in log


@pytest.mark.parametrize(('old', 'new'), [(KD, SKD), (SKD, KD)])
@pytest.mark.parametrize('was_many', [False, True])
@pytest.mark.parametrize('is_many', [False, True])
def test_resume(runs, tmp_path, old, new, was_many, is_many):
    """Counters, momentum and learning rates continue; the simplifier's start."""
    checkpoint, old_momentum = runs[old, was_many]
    options = MANY_GROUPS if is_many else ONE_GROUP
    cfg = digits(tmp_path, new, load_from=str(checkpoint), resume=True, **options)
    runner = Runner.from_cfg(cfg)
    start = Snapshot()
    runner.register_hook(start)
    runner.train()

    assert_said_once(tmp_path, new)
    assert start.position == (1, 3)
    students = {name for name in old_momentum if 'simplifier' not in name}
    assert len(students) > 20
    assert start.momentum.keys() == students
    assert all(torch.equal(start.momentum[name], old_momentum[name]) for name in students)
    weights = torch.load(checkpoint)['state_dict']
    shared = weights.keys() & start.weights.keys()
    assert not any('simplifier' in name for name in shared)
    assert all(torch.equal(weights[name], start.weights[name].cpu()) for name in shared)

    assert (runner.epoch, runner.iter) == (2, 6)
    assert (LAM in momentum(runner)) == (new == SKD)
    lr = 0.05 * (1 + cos(pi * 6 / (60 * 3)))
    for name, rate in rates(runner).items():
        factor = 0.1 if is_many and 'simplifier' in name else 1
        assert rate == pytest.approx(factor * lr), name
    logged = runner.optim_wrapper.get_lr()
    assert logged['base_lr' if is_many else 'lr'] == [pytest.approx(lr)]
    assert ('base_lr' in logged) == is_many


@pytest.mark.parametrize(('old', 'new'), [(KD, SKD), (SKD, KD)])
def test_without_the_hook_the_run_cannot_be_resumed(runs, tmp_path, monkeypatch, old, new):
    """Shows the need for the hook; fails once mmengine no longer needs it."""
    monkeypatch.setattr(
        SimplifierMigrationHook, 'after_load_checkpoint', Hook.after_load_checkpoint
    )
    with pytest.raises(ValueError, match=r'epoch_1\.pth.* cannot be resumed from'):
        resume(tmp_path, runs[old, False][0], new)


@pytest.mark.parametrize(('old', 'new'), [(KD, SKD), (SKD, KD)])
def test_load_from(runs, tmp_path, old, new):
    checkpoint, _ = runs[old, False]
    options = {'load_from': str(checkpoint), 'train_cfg.max_epochs': 1}
    runner = train(tmp_path, new, **options)
    assert (runner.epoch, runner.iter) == (1, 3)
    assert_said_once(tmp_path, new)


def test_an_optimizer_of_other_parameters_is_refused(runs, tmp_path):
    saved = torch.load(runs[KD, False][0])
    saved['optimizer']['param_groups'][0]['params'].pop()
    torch.save(saved, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'parameters of the optimizer=\d+, expected the \d+ of'):
        resume(tmp_path / 'b', tmp_path / 'a.pth', SKD)


def test_a_checkpoint_that_fits_is_left_alone(runs, tmp_path):
    checkpoint, _ = runs[SKD, False]
    resume(tmp_path, checkpoint, SKD, **{'train_cfg.max_epochs': 1})
    log = max(tmp_path.glob('*/*.log')).read_text()
    assert not any(line in log for line in LINES.values())


def test_a_simplifier_is_found_behind_the_prefix_of_ddp(tmp_path):
    runner = Runner.from_cfg(digits(tmp_path))
    saved = {f'module.{name}': value for name, value in runner.model.state_dict().items()}
    saved[f'module.{LAM}'] = torch.ones(1)
    torch.save(dict(state_dict=saved, meta={}), tmp_path / 'ddp.pth')
    runner.load_checkpoint(str(tmp_path / 'ddp.pth'))
    assert runner.model.state_dict()[LAM] == 1


@pytest.mark.parametrize(('old', 'new'), [(KD, SKD), (SKD, KD)])
def test_the_prefix_of_ddp_hides_no_difference(runs, tmp_path, old, new):
    weights = torch.load(runs[old, False][0])['state_dict']
    saved = {f'module.{name}': value for name, value in weights.items()}
    torch.save(dict(state_dict=saved, meta={}), tmp_path / 'ddp.pth')
    Runner.from_cfg(digits(tmp_path, new)).load_checkpoint(str(tmp_path / 'ddp.pth'))
    assert_said_once(tmp_path, new)


def test_a_simplifier_is_removed_beside_an_average_of_the_weights(runs, tmp_path):
    """Which swaps the two before, wherever the hooks stand in the config."""
    checkpoint = torch.load(runs[SKD, False][0])
    weights = checkpoint['state_dict']
    saved = {f'module.{name}': value for name, value in weights.items()}
    hooks = [dict(type='mmrazor.SimplifierMigrationHook'), dict(type='EMAHook')]
    runner = Runner.from_cfg(digits(tmp_path, KD, custom_hooks=hooks, resume=True))
    runner.call_hook('before_run')
    runner.call_hook(
        'after_load_checkpoint', checkpoint=dict(state_dict=weights, ema_state_dict=saved)
    )
    assert weights.keys() == runner.model.state_dict().keys()

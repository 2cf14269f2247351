"""The factor of the teacher's logits, over a training by mmengine's runner."""

import pytest
from mmengine.runner import Runner

from .runs import run_config

# Without attention a target is the teacher's logits times the factor.
NO_ATTENTION = dict(max_lam=0, learn_lam=False, start_factor=0.2)


def build(work_dir, warmup_iters=8, **settings):
    """A runner, and what the logits are multiplied by in each iteration, seen from outside."""
    simplifier = dict(NO_ATTENTION, warmup_iters=warmup_iters)
    runner = Runner.from_cfg(run_config(work_dir, simplifier=simplifier, **settings))
    seen = []

    def see(module, inputs, output):
        seen.append((output / inputs[0]).mean().item())

    runner.model.distiller.simplifier.register_forward_hook(see)
    return runner, seen


def factors(work_dir, **settings):
    runner, seen = build(work_dir, **settings)
    runner.train()
    return seen


def by_epoch(epochs):
    return dict(
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
    )


def test_grows_over_the_first_iterations(tmp_path):
    assert factors(tmp_path, warmup_iters=2) == pytest.approx([0.2, 0.6, 1, 1], rel=1e-4)


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    whole = factors(tmp_path / 'whole', **by_epoch(2))
    checkpoint = str(tmp_path / 'whole' / 'epoch_1.pth')
    resumed = factors(tmp_path / 'resumed', load_from=checkpoint, resume=True, **by_epoch(2))
    assert resumed == pytest.approx(whole[4:], rel=1e-6)


def test_a_run_after_another_starts_anew(tmp_path):
    first = factors(tmp_path / 'first')
    assert factors(tmp_path / 'second') == first


def test_a_run_does_not_depend_on_another_that_was_built_after_it(tmp_path):
    first, seen = build(tmp_path / 'first')
    build(tmp_path / 'second')
    first.train()
    assert seen == pytest.approx([0.2, 0.3, 0.4, 0.5], rel=1e-4)


def test_each_mini_batch_counts_where_gradients_are_accumulated(tmp_path):
    accumulate = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1), accumulative_counts=2))
    assert factors(tmp_path, **accumulate) == pytest.approx([0.2, 0.3, 0.4, 0.5], rel=1e-4)

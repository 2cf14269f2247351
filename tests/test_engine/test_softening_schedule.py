"""The factor of the teacher's logits, over a training by mmengine's runner."""

import pytest
from mmengine.runner import Runner

from .runs import run_config

# Without attention a target is the teacher's logits times the factor.
NO_ATTENTION = dict(max_lam=0, learn_lam=False, start_factor=0.2)


def build(work_dir, warmup_iters=1000, **settings):
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


def test_grows_linearly_over_all_of_a_short_training(tmp_path):
    assert factors(tmp_path) == pytest.approx([0.2, 0.4, 0.6, 0.8], rel=1e-4)


def test_grows_over_the_first_iterations(tmp_path):
    assert factors(tmp_path, warmup_iters=2) == pytest.approx([0.2, 0.6, 1, 1], rel=1e-4)


def test_counts_iterations_where_the_loop_counts_epochs(tmp_path):
    """Two epochs of four iterations."""
    expected = [0.2 + 0.1 * i for i in range(8)]
    assert factors(tmp_path, **by_epoch(2)) == pytest.approx(expected, rel=1e-4)


def test_a_resumed_run_goes_on_where_it_stopped(tmp_path):
    whole = factors(tmp_path / 'whole', **by_epoch(2))
    checkpoint = str(tmp_path / 'whole' / 'epoch_1.pth')
    resumed = factors(tmp_path / 'resumed', load_from=checkpoint, resume=True, **by_epoch(2))
    assert resumed == pytest.approx(whole[4:], rel=1e-6)


def test_a_run_after_another_starts_anew(tmp_path):
    first = factors(tmp_path / 'first')
    assert factors(tmp_path / 'second') == first


def test_a_run_is_not_told_of_another_that_was_built_after_it(tmp_path):
    first, seen = build(tmp_path / 'first')
    build(tmp_path / 'second')
    first.train()
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8], rel=1e-4)

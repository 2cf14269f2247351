"""Mixed precision, accumulated and clipped gradients, by mmengine's wrappers."""

from contextlib import contextmanager

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner, autocast

from .runs import difference, logged, run_config, train, weights

# A λ that is there from the start, so that it matters whom a sample attends to.
# Without the schedule, which goes by iterations however many make a step.
STRONG = dict(learn_lam=False, max_lam=0.5, start_factor=1)


def wrapper(lr=0.1, **arguments):
    return dict(optimizer=dict(type='SGD', lr=lr), **arguments)


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """``AmpOptimWrapper`` refuses CPUs; mmengine's ``autocast`` does not."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='AmpOptimWrapper needs a GPU')


@pytest.mark.parametrize(
    'amp',
    [
        dict(type='BFloat16OptimWrapper'),
        pytest.param(dict(type='AmpOptimWrapper', dtype='bfloat16'), marks=needs_gpu),
        # With a scale that overflows nothing: no step is skipped.
        pytest.param(
            dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0), marks=needs_gpu
        ),
    ],
    ids=lambda amp: '-'.join(map(str, amp.values())),
)
@pytest.mark.parametrize(
    ('simplifier', 'learns'),
    [({}, 'lam_logit'), (dict(STRONG, attend_over='classes'), 'attention.k.weight')],
)
def test_amp_trains_as_float32_does(tmp_path, amp, simplifier, learns):
    full = train(tmp_path / 'full', simplifier=simplifier)
    cfg = run_config(tmp_path / 'amp', simplifier=simplifier, optim_wrapper=wrapper(**amp))
    runner = Runner.from_cfg(cfg)
    start = weights(runner.model.distiller)
    runner.train()
    for key in ('student.loss', 'distill.loss_kl', 'distill.simplified_entropy'):
        assert logged(runner, key) != logged(full, key), 'autocast was off'
        assert logged(runner, key) == pytest.approx(logged(full, key), rel=0.02)
    trained = weights(runner.model.distiller)
    assert not torch.equal(trained[f'simplifier.{learns}'], start[f'simplifier.{learns}'])
    for parameter in runner.model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU has AMP')
def test_amp_without_a_gpu_is_refused(tmp_path):
    runner = Runner.from_cfg(run_config(tmp_path, optim_wrapper=wrapper(type='AmpOptimWrapper')))
    with pytest.raises(AssertionError, match='only available training on gpu'):
        runner.train()


@pytest.mark.parametrize(('attend_over', 'equal'), [('classes', True), ('samples', False)])
def test_accumulation(tmp_path, attend_over, equal):
    """Class attention: as the whole batch. Sample attention: within each part."""
    simplifier = dict(STRONG, attend_over=attend_over)
    whole = train(tmp_path / 'whole', simplifier=simplifier)
    parts = Runner.from_cfg(
        run_config(
            *(tmp_path / 'parts', 8, 4),
            simplifier=simplifier,
            optim_wrapper=wrapper(accumulative_counts=2),
        )
    )
    seen = set()
    parts.model.distiller.simplifier.register_forward_hook(lambda m, i, o: seen.add(o.shape))
    parts.train()
    assert seen == {(4, 10)}
    distance = difference(weights(parts.model), weights(whole.model))
    assert distance < 1e-5 if equal else distance > 1e-3


def test_clipping_scales_student_and_simplifier_by_one_norm(tmp_path):
    def step(name, **arguments):
        runner = train(tmp_path / name, iters=1, optim_wrapper=wrapper(**arguments))
        return weights(runner.model), logged(runner, 'grad_norm')

    start, _ = step('start', lr=0.0)
    free, _ = step('free', lr=1.0)
    clipped, (norm,) = step('clipped', lr=1.0, clip_grad=dict(max_norm=0.01))
    gradients = {k: start[k] - free[k] for k in start}
    assert gradients['distiller.simplifier.lam_logit'] != 0
    assert norm == pytest.approx(torch.cat([g.flatten() for g in gradients.values()]).norm().item())
    assert norm > 0.01
    expected = {k: start[k] - gradients[k] * 0.01 / norm for k in start}
    torch.testing.assert_close(clipped, expected, rtol=1e-4, atol=1e-7)

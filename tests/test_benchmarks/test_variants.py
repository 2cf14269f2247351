"""The simplifiers that the method study compares with the plugin's."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

from benchmarks.accuracy.variants import (
    KeepScaleSimplifier,
    KeepTopSimplifier,
    LowRankSimplifier,
    StudentAwareSimplifier,
    StudentPacedSimplifier,
)

from ..conftest import ROOT

CONFIGS = sorted((ROOT / 'benchmarks' / 'accuracy' / 'configs' / 'variants').glob('*.py'))
KINDS = [
    KeepScaleSimplifier,
    KeepTopSimplifier,
    LowRankSimplifier,
    StudentAwareSimplifier,
    StudentPacedSimplifier,
]


@pytest.fixture
def logits():
    return torch.randn(16, 10, dtype=torch.float64) * 4


def make(kind, start_factor=1, max_lam=0.5, **kwargs):
    return kind(
        num_classes=10, tau=2.0, start_factor=start_factor, max_lam=max_lam, **kwargs
    ).double()


def target(simplifier, logits):
    return (simplifier(logits) / simplifier.tau).softmax(dim=1)


@pytest.mark.parametrize('kind', KINDS)
def test_each_starts_at_the_teacher_and_leaves_it(kind, logits):
    simplifier = make(kind)
    teacher = (logits / simplifier.tau).softmax(dim=1)
    torch.testing.assert_close(target(simplifier, logits), teacher)
    torch.nn.init.ones_(simplifier.lam_logit)
    assert not target(simplifier, logits).allclose(teacher)


def test_the_top_class_keeps_its_probability(logits):
    simplifier = make(KeepTopSimplifier, learn_lam=False)
    found, teacher = target(simplifier, logits), (logits / 2).softmax(dim=1)
    top = teacher.argmax(dim=1)
    torch.testing.assert_close(found[range(16), top], teacher[range(16), top])
    assert not found.allclose(teacher)


def test_each_sample_keeps_its_scale(logits):
    simplifier = make(KeepScaleSimplifier, learn_lam=False)
    torch.testing.assert_close(simplifier(logits).std(dim=1), logits.std(dim=1))
    torch.testing.assert_close(simplifier(logits).mean(dim=1), logits.mean(dim=1))


def test_the_values_of_a_low_rank_are_learned(logits):
    simplifier = make(LowRankSimplifier, learn_lam=False, rank=3)
    plain = make(LowRankSimplifier, learn_lam=False, rank=3)
    plain.load_state_dict(simplifier.state_dict())
    torch.nn.init.normal_(simplifier.attention.up.weight)
    matrix = simplifier.attention.up.weight @ simplifier.attention.down.weight
    y = (logits / 2).log_softmax(dim=1)
    averaged = simplifier.get_attention(logits) @ y
    expected = logits + 2 * 0.5 * (averaged + averaged @ matrix.T - y)
    torch.testing.assert_close(simplifier(logits), expected)


def test_what_the_student_says_decides_whom_a_sample_attends_to(logits):
    simplifier = make(StudentAwareSimplifier)
    alone = simplifier.get_attention(logits)
    simplifier.see(logits)
    torch.testing.assert_close(simplifier.get_attention(logits), alone)
    simplifier.see(logits.roll(1, dims=0))
    assert not simplifier.get_attention(logits).allclose(alone, atol=0.1)


@pytest.mark.parametrize(('share', 'expected'), [(0.0, 0.1), (0.2, 0.4), (0.7, 1.0), (-1.0, 0.1)])
def test_the_target_stays_ahead_of_what_the_student_has_reached(share, expected, logits):
    simplifier = make(StudentPacedSimplifier, start_factor=0.1, max_lam=0.0)
    # What the student says beside the teacher's logits does not count.
    wrong = torch.randn_like(logits)
    centred = logits - logits.mean(dim=1, keepdim=True)
    wrong -= centred * (wrong * centred).sum() / centred.square().sum()
    simplifier.see(share * logits + wrong)
    torch.testing.assert_close(simplifier(logits), expected * logits)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_a_few_steps_train_all_of_it(path):
    cfg = Config.fromfile(path)
    cfg.model.teacher_ckpt = None
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    simplifier = model.distiller.simplifier
    torch.nn.init.ones_(simplifier.lam_logit)
    before = {name: p.detach().clone() for name, p in simplifier.named_parameters()}
    samples = [DataSample().set_gt_label(i % 10) for i in range(16)]
    for _ in range(4):
        images = torch.randint(256, (16, 1, 28, 28), dtype=torch.uint8)
        losses = model.train_step(dict(inputs=images, data_samples=samples), optimizer)
    assert losses['loss'].isfinite()
    assert not [n for n, p in simplifier.named_parameters() if p.equal(before[n])]
    if 'fidelity' in path.stem:
        assert losses['distill.loss_fidelity'] > 0

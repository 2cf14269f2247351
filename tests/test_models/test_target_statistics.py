"""The statistics in the log, beside the same numbers by hand, in float64 and with loops."""

import math

import pytest
import torch
from mmengine.model import BaseModel
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor.models.distillers.target_statistics import compare_targets
from skd_mmrazor.utils import parts

from ..conftest import algorithm, batch, distiller

TAU = 2.5
# A target that is far from the teacher's, in entropy and in its top class.
STRONG = dict(
    type='AttentionSimplifierConnector', max_lam=0.9, learn_lam=False, start_factor=0.3, tau=TAU
)


def entropy(logits):
    """In nats, of one sample: a list of logits."""
    largest = max(logits)
    weights = [math.exp((z - largest) / TAU) for z in logits]
    shares = [weight / sum(weights) for weight in weights]
    return -sum(p * math.log(p) for p in shares if p)


def by_hand(pairs):
    """The statistics of pairs of (N, C, ...) logits, before and after."""
    samples = [
        [z.transpose(0, 1).flatten(1).T.tolist() for z in (before, after)]
        for before, after in pairs
    ]
    before, after = ([s for pair in samples for s in pair[side]] for side in (0, 1))

    def mean(values):
        return sum(values) / len(before)

    same = [b.index(max(b)) == a.index(max(a)) for b, a in zip(before, after, strict=True)]
    return {
        'distill.teacher_entropy': mean(map(entropy, before)),
        'distill.simplified_entropy': mean(map(entropy, after)),
        'distill.top1_agreement': mean(same),
        'distill.lam': 0.9,
    }


def step(model, *data):
    """The log of a step, and the inputs and outputs of the simplifier."""
    pairs, simplifier = [], model.distiller.simplifier
    # Tokens attend to others than to themselves.
    nn.init.normal_(simplifier.attention.k.weight, std=0.2)
    simplifier.register_forward_hook(
        lambda module, inputs, output: pairs.append((inputs[0].double(), output.double()))
    )
    losses = model(*data, mode='loss')
    return losses, pairs


def assert_as_by_hand(losses, pairs):
    expected = by_hand(pairs)
    assert {key: losses[key].item() for key in expected} == pytest.approx(expected, rel=1e-5)
    entropies = [expected[f'distill.{which}_entropy'] for which in ('teacher', 'simplified')]
    assert abs(entropies[0] - entropies[1]) > 0.05, 'the numbers could be exchanged'
    assert 0 < expected['distill.top1_agreement'] < 1


def test_the_statistics_of_a_classifier():
    losses = {'loss_kl': dict(type='KLDivergence', tau=TAU)}
    simplifier = dict(STRONG, attend_over='classes')
    model = MODELS.build(algorithm(distiller(losses, simplifier=simplifier)))
    model.teacher.head.fc.weight.data.normal_(std=0.7)
    losses, pairs = step(model, *batch(30))
    assert [tuple(before.shape) for before, _ in pairs] == [(30, 10)]
    assert_as_by_hand(losses, pairs)


class Network(BaseModel):
    """Logits of two levels, whose sides differ from each other and from other lengths."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 1)

    def forward(self, inputs, data_samples=None, mode='loss'):
        levels = self.fine(inputs), self.coarse(inputs[..., ::2, ::3])
        return dict(loss=sum(level.square().mean() for level in levels))


def dense(levels):
    cfg = dict(
        type='SKDDistiller',
        simplifier=dict(STRONG, num_classes=5),
        student_recorders={},
        teacher_recorders={},
        distill_losses={},
        loss_forward_mappings={},
        simplified_losses={f'loss_{level}': 'preds_T' for level in levels},
    )
    for level in levels:
        for side in ('student', 'teacher'):
            recorder = dict(type='ModuleOutputs', source=level)
            cfg[f'{side}_recorders'][level] = recorder
        cfg['distill_losses'][f'loss_{level}'] = dict(type='KLDivergence', tau=TAU)
        cfg['loss_forward_mappings'][f'loss_{level}'] = dict(
            preds_S=dict(recorder=level, from_student=True),
            preds_T=dict(recorder=level, from_student=False),
        )
    model = MODELS.build(algorithm(cfg, architecture=Network(), teacher=Network()))
    for parameter in model.teacher.parameters():
        nn.init.normal_(parameter, std=4)
    return model


@pytest.mark.parametrize('levels', [['fine'], ['fine', 'coarse']], ids=len)
def test_the_statistics_of_dense_logits(levels):
    """Each location counts once, whatever the level that it is of."""
    losses, pairs = step(dense(levels), torch.randn(2, 3, 4, 6))
    shapes = dict(fine=(2, 5, 4, 6), coarse=(2, 5, 2, 2))
    assert [tuple(before.shape) for before, _ in pairs] == [shapes[level] for level in levels]
    assert_as_by_hand(losses, pairs)


def test_the_statistics_are_computed_as_often_as_they_are_asked_for():
    model = MODELS.build(
        algorithm(distiller({'loss_kl': dict(type='KLDivergence', tau=TAU)}, log_interval=3))
    )
    steps = [model(*batch(), mode='loss') for _ in range(7)]
    keys = [{key for key in losses if 'loss' not in key} for losses in steps]
    names = {'teacher_entropy', 'simplified_entropy', 'top1_agreement', 'lam'}
    assert [i for i, found in enumerate(keys, 1) if found] == [1, 3, 6]
    assert keys[0] == keys[2] == keys[5] == {f'distill.{name}' for name in names}


def test_classes_under_a_sigmoid_each_have_an_entropy_each():
    before, after = (3 * torch.randn(4, 5, 2, 3, dtype=torch.float64) for _ in range(2))
    found = compare_targets([(before, after)], TAU, True)
    for name, logits in dict(teacher=before, simplified=after).items():
        p = 1 / (1 + (-logits / TAU).exp())
        expected = -(p * p.log() + (1 - p) * (1 - p).log()).sum(dim=1).mean()
        assert found[f'{name}_entropy'].item() == pytest.approx(expected.item(), rel=1e-5)


def test_half_precision_logits_are_compared_in_float32():
    before, after = torch.randn(50, 10).bfloat16(), torch.randn(50, 10)
    found, expected = (compare_targets([(x, after)], TAU) for x in (before, before.float()))
    torch.testing.assert_close(found, expected)


def test_large_maps_are_compared_as_small_ones_are():
    """In parts, of which a map of two images has two."""
    before, after = torch.randn(2, 2, 5, 1000, 600).unbind()
    images = [(b[None], a[None]) for b, a in zip(before, after, strict=True)]
    whole, each = compare_targets([(before, after)], TAU), compare_targets(images, TAU)
    torch.testing.assert_close(whole, each)


@pytest.mark.parametrize(
    ('length', 'row_size', 'sizes'),
    [(2, None, [2]), (5, None, [2, 2, 1]), (5, 4, [3, 2]), (3, 100, [1, 1, 1])],
)
def test_large_batches_are_computed_in_the_largest_parts_that_fit(
    monkeypatch, length, row_size, sizes
):
    """And again in the backward pass, so that autograd keeps the batch alone."""
    monkeypatch.setattr(parts, 'MAX_ELEMENTS', 12)
    # As the simplifier's: the teacher's logits need no gradient.
    weight, batches, seen = torch.ones(3, requires_grad=True), torch.randn(length, 2, 3), []

    def function(rows):
        seen.append(len(rows))
        return (weight * rows).square()

    found = parts.in_parts(function, batches, row_size=row_size)
    assert seen == sizes
    torch.testing.assert_close(found, batches.square())
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    torch.testing.assert_close(gradient, 2 * batches.square().sum(dim=(0, 1)))
    assert sorted(seen) == sorted(sizes if len(sizes) == 1 else 2 * sizes)

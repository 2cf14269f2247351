"""A simplifier that cannot learn is said to, and one that spoils the logits is refused."""

import contextlib
import warnings

import pytest
import torch
from mmrazor.registry import MODELS

from ..conftest import batch
from .logit_records import FC, KL, OWN, build, records, step


def test_a_lam_that_cannot_learn_is_said_once():
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc'))
    model = build(*parts)
    with pytest.warns(UserWarning, match='λ cannot learn from the only sample'):
        step(model, size=1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        step(model, size=1)
        step(build(*parts), size=2)


@MODELS.register_module()
class DetachedSimplifier(torch.nn.Module):
    """Its own output does not depend on its parameter."""

    def __init__(self, num_classes, tau):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.tau = tau

    def forward(self, logits):
        """Simplifies."""
        return logits * self.weight.detach()


def test_a_simplifier_that_is_detached_is_said_to_be():
    with pytest.warns(UserWarning, match='DetachedSimplifier cannot learn'):
        build(
            dict(fc=FC),
            dict(loss_own=dict(OWN, tau=1)),
            dict(loss_own=records('fc')),
            simplifier=dict(type='DetachedSimplifier'),
            simplified_losses=dict(loss_own='preds_T'),
        )


@MODELS.register_module()
class WritingSimplifier(DetachedSimplifier):
    """Spares a copy of the logits."""

    def forward(self, logits):
        """Simplifies in place."""
        return logits.mul_(self.weight)


def test_a_simplifier_that_writes_into_the_teachers_logits_is_refused():
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc'))
    with pytest.raises(ValueError, match=r'WritingSimplifier.*does not write into its input'):
        build(*parts, simplifier=dict(type='WritingSimplifier'))


def test_a_simplifier_without_a_temperature_is_refused():
    """By which the log softens what it compares."""

    @MODELS.register_module(name='WithoutTau', force=True)
    class WithoutTau(DetachedSimplifier):
        def __init__(self, num_classes, tau):
            super().__init__(num_classes, tau)
            del self.tau

    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc'))
    with pytest.raises(ValueError, match=r'simplifier\.tau=None, expected a number as an attr'):
        build(*parts, simplifier=dict(type='WithoutTau'))


@pytest.mark.parametrize('value', [-1e4, torch.finfo(torch.float32).min])
def test_a_mask_that_half_precision_makes_infinite_is_told_another(value):
    model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc')))
    model.teacher.head.fc.bias.data[3] = value
    is_finite = value > torch.finfo(torch.float16).min
    refused = contextlib.nullcontext() if is_finite else pytest.raises(ValueError, match='as -1e4')
    with refused, torch.autocast('cpu', dtype=torch.float16):
        assert model(*batch(4), mode='loss')['distill.loss_kl'].isfinite()

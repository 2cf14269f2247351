"""Losses of mmrazor: one that a fork changed is kept, and what does not go together is named."""

import pytest
import torch
from mmrazor.models import losses as mmrazor_losses
from mmrazor.registry import MODELS

from skd_mmrazor.models import LogSpaceKLDivergence

from ..conftest import algorithm
from .logit_records import FC, KL, LINEAR, build, records, step


def test_a_fork_that_computes_something_else_is_kept(monkeypatch):
    """A fork of mmrazor may change a loss under its name."""
    stock = mmrazor_losses.KLDivergence.forward

    def doubled(self, preds_S, preds_T):
        return 2 * stock(self, preds_S, preds_T)

    parts = dict(fc=FC), dict(loss_kl=dict(KL, teacher_detach=True)), dict(loss_kl=records('fc'))
    assert isinstance(build(*parts).distiller.distill_losses['loss_kl'], LogSpaceKLDivergence)
    monkeypatch.setattr(mmrazor_losses.KLDivergence, 'forward', doubled)
    kept = build(*parts).distiller.distill_losses['loss_kl']
    assert type(kept) is mmrazor_losses.KLDivergence
    # So is one that cannot be compared: it has a weight for each of the ten classes.
    weights = torch.arange(1.0, 11.0)
    monkeypatch.setattr(
        mmrazor_losses.KLDivergence,
        'forward',
        lambda self, preds_S, preds_T: stock(self, weights * preds_S, weights * preds_T),
    )
    kept = build(*parts).distiller.distill_losses['loss_kl']
    assert type(kept) is mmrazor_losses.KLDivergence
    # One whose value differs and whose gradient does not reach the teacher is refused.
    monkeypatch.setattr(
        mmrazor_losses.KLDivergence,
        'forward',
        lambda self, preds_S, preds_T: 2 * stock(self, preds_S, preds_T.detach()),
    )
    with pytest.raises(ValueError, match=r"KLDivergence to its preds_T='none', expected a finite"):
        build(*parts)


def test_heads_of_different_sizes_are_told_the_line_that_settles_it():
    recorders = (
        dict(fc=FC, aux=dict(type='ModuleOutputs', source='head.fc')),
        dict(fc=FC, aux=dict(type='ModuleOutputs', source='head.fc')),
    )
    parts = (
        recorders,
        dict(loss_kl=KL, loss_aux=KL),
        dict(
            loss_kl=records('fc'),
            loss_aux=dict(
                preds_S=dict(recorder='aux', from_student=True, connector='halve'),
                preds_T=dict(recorder='aux', from_student=False, connector='halve'),
            ),
        ),
    )
    halve = dict(LINEAR, module_args=dict(in_features=10, out_features=5))
    named = dict(loss_kl='preds_T', loss_aux='preds_T')
    message = (
        r'recorders\.aux: num_classes=5, expected 10, as distiller\.teacher_recorders\.fc has; '
        r'.* simplified_losses chooses losses'
    )
    with pytest.raises(ValueError, match=message):
        build(*parts, connectors=dict(halve=halve), simplified_losses=named)
    step(build(*parts, connectors=dict(halve=halve), simplified_losses=dict(loss_kl='preds_T')))


def test_hard_labels_beside_kl_are_told_the_argument_that_settles_it():
    parts = (
        dict(fc=FC),
        dict(loss_kl=KL, loss_ce=dict(type='CrossEntropyLoss')),
        dict(loss_kl=records('fc'), loss_ce=records('fc')),
    )
    line = r"loss_ce: gradient .*, or distiller\.simplified_losses={'loss_kl': 'preds_T'}"
    with pytest.raises(ValueError, match=line):
        build(*parts)
    step(build(*parts, simplified_losses=dict(loss_kl='preds_T')))


@pytest.mark.parametrize(
    ('loss', 'key'),
    [
        (dict(type='DKDLoss', alpha='1'), 'alpha'),
        (dict(type='DKDLoss', beta=None), 'beta'),
        (dict(type='KLDivergence', loss_weight=None), 'loss_weight'),
        (dict(type='KLDivergence', loss_weight=float('nan')), 'loss_weight'),
        (dict(type='DISTLoss', inter_loss_weight=float('inf')), 'inter_loss_weight'),
        (dict(type='L2Loss', loss_weight='2'), 'loss_weight'),
    ],
)
def test_a_number_of_a_loss_that_is_none_is_named(loss, key):
    from ..conftest import distiller

    cfg = algorithm(distiller({'loss_x': dict(loss)}))
    with pytest.raises((ValueError, TypeError), match=rf'distill_losses\.loss_x\.{key}='):
        MODELS.build(cfg)


@pytest.mark.parametrize('value', ['1', None, float('nan')])
@pytest.mark.parametrize('type_', ['ATLoss', 'L1Loss'])
def test_a_number_of_a_loss_of_features_is_named_too(type_, value):
    feature = dict(type='ModuleOutputs', source='backbone.layer2')
    mapping = dict(
        s_feature=dict(recorder='layer', from_student=True),
        t_feature=dict(recorder='layer', from_student=False),
    )
    recorders = dict(fc=FC, layer=feature)
    mappings = dict(loss_kl=records('fc'), loss_at=mapping)
    step(build(recorders, dict(loss_kl=KL, loss_at=dict(type=type_)), mappings))
    with pytest.raises(ValueError, match=r'distill_losses\.loss_at\.loss_weight=.*a finite number'):
        build(recorders, dict(loss_kl=KL, loss_at=dict(type=type_, loss_weight=value)), mappings)

"""A loss of a user's own that may read the logits is named with the line that simplifies it."""

import warnings

import pytest
import torch
from mmrazor.registry import MODELS

from ..conftest import algorithm
from .logit_records import FC, KL, METHOD, OWN, SKD, OwnLoss, build, records, step


def test_an_unknown_loss_of_the_logits_is_named_with_the_line_that_simplifies_it():
    line = r"simplified_losses=None, expected simplified_losses=dict\(loss_own='preds_T'\)"
    # Of losses that only may read the logits, such as that of a method, nothing is said.
    losses, mappings = dict(loss_may=OWN), dict(loss_may=records('may'))
    parts = dict(losses, loss_own=OWN), dict(mappings, loss_own=records('fc'))
    with pytest.raises(ValueError, match=line):
        build(dict(fc=FC, may=METHOD), *parts)
    settled = dict(
        simplifier=dict(SKD['simplifier'], tau=1), simplified_losses=dict(loss_own='preds_T')
    )
    model = build(dict(fc=FC), dict(loss_own=OWN), dict(loss_own=records('fc')), **settled)
    assert 'simplify' in model.distiller.loss_forward_mappings['loss_own']['preds_T']
    # Or by a loss that is asked for.
    asked = dict(logit_loss=dict(KL))
    model = build(dict(fc=FC), dict(loss_own=OWN), dict(loss_own=records('fc')), **asked)
    assert list(model.distiller.simplified_losses) == ['loss_skd']


def test_an_unknown_loss_beside_a_known_one_is_said_to_read_the_logits_as_they_are():
    # The setting keeps the loss that is simplified already.
    line = r"\['loss_own'\] may read .* beside \['loss_kl'\]; simplified_losses=dict\("
    with pytest.warns(UserWarning, match=line + r"loss_kl='preds_T', loss_own='preds_T'\) simpl"):
        model = build(
            dict(fc=FC),
            dict(loss_own=OWN, loss_kl=KL),
            dict(loss_own=records('fc'), loss_kl=records('fc')),
        )
    assert list(model.distiller.simplified_losses) == ['loss_kl']


LOSS_INPUTS = dict(type='ModuleInputs', source='head.loss_module')
L2 = dict(type='L2Loss')


@pytest.mark.parametrize(
    ('recorder', 'loss', 'keys'),
    [
        (METHOD, OWN, {}),
        (LOSS_INPUTS, OWN, dict(data_idx=0)),
        (METHOD, L2, {}),
    ],
)
def test_a_loss_that_may_read_logits_is_named_before_another_is_added(recorder, loss, keys):
    arguments = ('s_feature', 't_feature') if loss is L2 else ('preds_S', 'preds_T')
    sides = dict(zip(arguments, (True, False), strict=True))
    mapping = {key: dict(keys, recorder='x', from_student=side) for key, side in sides.items()}
    parts = dict(x=recorder), dict(loss_own=loss), dict(loss_own=mapping)
    connectors = dict(connectors=dict(first=dict(type='FirstClasses')))
    line = (
        rf"\['loss_own'\] may read .* is added; simplified_losses=dict\(loss_own='{arguments[1]}'"
    )
    with pytest.warns(UserWarning, match=line):
        build(*parts, **connectors)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        settled = dict(loss_own=arguments[1])
        simplifier = dict(SKD['simplifier'], tau=1, num_classes=10)
        step(build(*parts, simplified_losses=settled, simplifier=simplifier, **connectors))
        build(*parts, logit_loss=dict(KL), **connectors)


def test_losses_that_share_a_mapping_or_a_record_are_told_apart():
    """As a config built in Python may have it."""
    shared = records('fc')
    cfg = dict(
        SKD,
        student_recorders=dict(fc=FC),
        teacher_recorders=dict(fc=FC),
        distill_losses=dict(loss_kl=KL, loss_own=OWN, loss_l1=OWN),
        loss_forward_mappings=dict(loss_kl=shared, loss_own=shared, loss_l1=dict(shared)),
    )
    mappings = MODELS.build(algorithm(cfg)).distiller.loss_forward_mappings
    assert [name for name in mappings if 'simplify' in mappings[name]['preds_T']] == ['loss_kl']


@MODELS.register_module()
class TwoTargets(torch.nn.Module):
    """Reads the logits of the teacher twice."""

    def forward(self, preds_S, preds_T, weights_T):
        """Squared distance, weighted."""
        return ((preds_S - preds_T).square() * weights_T.detach().softmax(1)).mean()


def test_a_loss_with_two_arguments_of_logits_is_told_both():
    record = dict(recorder='fc', from_student=False)
    mapping = dict(loss_own=dict(records('fc'), preds_T=record, weights_T=record))
    parts = dict(fc=FC), dict(loss_own=dict(type='TwoTargets')), mapping
    with pytest.raises(ValueError, match=r"dict\(loss_own='preds_T' or 'weights_T'\)"):
        build(*parts)
    simplifier = dict(SKD['simplifier'], tau=1)
    model = build(*parts, simplified_losses=dict(loss_own='preds_T'), simplifier=simplifier)
    records_of_loss = model.distiller.loss_forward_mappings['loss_own']
    assert [key for key in records_of_loss if 'simplify' in records_of_loss[key]] == ['preds_T']


def test_a_temperature_that_is_learned_needs_one_for_the_simplifier():
    parts = (
        dict(fc=FC),
        dict(loss_own=dict(OWN, tau=torch.tensor(4.0))),
        dict(loss_own=records('fc')),
    )
    named = dict(simplified_losses=dict(loss_own='preds_T'))
    with pytest.raises(ValueError, match=r'simplifier\.tau=None, expected a number.*tensor\(4'):
        build(*parts, **named)
    step(build(*parts, **named, simplifier=dict(SKD['simplifier'], tau=4)))


@pytest.mark.parametrize('name', ['tau', 'temperature', 'T'])
def test_a_temperature_by_another_name_is_read(name):
    model = build(
        dict(fc=FC),
        dict(loss_own=dict(OWN, **{name: 3.0})),
        dict(loss_own=records('fc')),
        simplified_losses=dict(loss_own='preds_T'),
    )
    assert model.distiller.simplifier.tau == 3


def test_a_loss_that_tells_no_temperature_is_asked_for_it():
    with pytest.raises(ValueError, match=r"simplifier\.tau=None, expected .*'loss_own': None"):
        build(
            dict(fc=FC),
            dict(loss_own=OWN),
            dict(loss_own=records('fc')),
            simplified_losses=dict(loss_own='preds_T'),
        )


@MODELS.register_module()
class DefaultsLoss(OwnLoss):
    """Its arguments have defaults, so mmrazor does not compare them with the mapping."""

    def forward(self, preds_S=None, preds_T=None):
        """As OwnLoss."""
        return super().forward(preds_S, preds_T)


@pytest.mark.parametrize('side', ['preds_S', 'preds_T'])
@pytest.mark.parametrize(
    'wrong', [dict(connector='nosuch'), dict(connector=['x']), dict(recorder='nosuch')]
)
def test_what_a_mapping_of_defaults_names_in_vain_is_named_in_the_step(side, wrong):
    mapping = records('fc')
    mapping[side] |= wrong
    model = build(
        dict(fc=FC),
        dict(loss_kl=KL, loss_own=dict(type='DefaultsLoss', tau=4)),
        dict(loss_kl=records('fc'), loss_own=mapping),
        simplified_losses=dict(loss_kl='preds_T', loss_own='preds_T'),
    )
    with pytest.raises((ValueError, TypeError), match=r'loss_forward_mappings\.loss_own'):
        step(model)


@MODELS.register_module()
class OddLoss(OwnLoss):
    """Returns what it is told to."""

    def forward(self, preds_S, preds_T):
        """A dict, a float, or a list."""
        return self.wrap(super().forward(preds_S, preds_T))


@pytest.mark.parametrize(
    ('wrap', 'found'),
    [
        (lambda x: dict(loss=x), 'dict'),
        (float, 'float'),
        (lambda x: (x, x), 'tuple'),
        (lambda x: [x], None),
        (lambda x: [x.detach(), x], None),
    ],
)
def test_what_mmengine_cannot_add_is_named(wrap, found):
    arguments = dict(simplified_losses=dict(loss_x='preds_T'))
    parts = (
        dict(fc=FC),
        dict(loss_x=dict(type='OddLoss', wrap=wrap, tau=1)),
        dict(loss_x=records('fc')),
    )
    if found is None:
        step(build(*parts, **arguments))
        return
    with pytest.raises(ValueError, match=rf"loss_x: what it returns='{found}', expected a tensor"):
        build(*parts, **arguments)


def test_a_method_of_the_backbone_is_not_paired_with_one_of_the_head():
    """Though both are called ``forward``."""

    @MODELS.register_module(name='OfAFeature', force=True)
    class OfAFeature(torch.nn.Module):
        tau = 1.0

        def forward(self, feature, target):
            return (feature.mean() - target).square().mean()

    block = dict(METHOD, source='mmpretrain.models.backbones.resnet.BasicBlock.forward')
    mapping = dict(
        feature=dict(recorder='block', from_student=True),
        target=dict(recorder='fc', from_student=False),
    )
    recorders = dict(fc=METHOD, block=block)
    model = build(
        *(recorders, dict(loss_own=dict(type='OfAFeature')), dict(loss_own=mapping)),
        simplified_losses=dict(loss_own='target'),
    )
    assert list(model.distiller.logit_entries['loss_own']) == ['teacher']
    step(model)


class NoBackward(torch.autograd.Function):
    """As a kernel without one."""

    @staticmethod
    def forward(ctx, x):
        """The input."""
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        """Fails."""
        raise RuntimeError('backward is broken')


def test_a_gradient_that_fails_is_not_said_of_what_the_loss_returns():
    loss = dict(type='OddLoss', wrap=NoBackward.apply, tau=1)
    arguments = dict(simplified_losses=dict(loss_x='preds_T'))
    with pytest.raises(RuntimeError, match=r'^backward is broken'):
        build(dict(fc=FC), dict(loss_x=loss), dict(loss_x=records('fc')), **arguments)

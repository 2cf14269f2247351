"""What cannot be built or computed is an error that names its key."""

import copy

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from ..conftest import ARGUMENTS, algorithm, batch, distiller

KL = dict(type='KLDivergence', tau=4)


def build(losses=None, **arguments):
    cfg = distiller(losses or {'loss_kl': KL}, **arguments)
    return MODELS.build(copy.deepcopy(algorithm(cfg)))


def users_loss(name):
    """Registers a loss of ``preds_S`` and ``preds_T`` under the name of its class."""
    ARGUMENTS[name] = ('preds_S', 'preds_T')
    return MODELS.register_module(name=name)


@MODELS.register_module()
class SpoilingSimplifier(nn.Module):
    """Gives the logits back, spoilt as it is told."""

    tau = 4.0

    def __init__(self, num_classes, tau, spoil):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.spoil = spoil

    def forward(self, logits):
        out = self.weight * logits
        if self.spoil == 'shape':
            return out[:, :-1]
        if self.spoil == 'type':
            return [out]
        if isinstance(self.spoil, float):
            out[-1, -1] = self.spoil
        return out


@pytest.mark.parametrize('spoil', [float('nan'), float('inf'), 'shape', 'type'])
def test_a_simplifier_whose_outputs_are_no_finite_logits_is_refused(spoil):
    def own(spoil):
        return dict(type='SpoilingSimplifier', spoil=spoil)

    match = r"distiller\.simplifier='SpoilingSimplifier with tau=4.*expected that its outputs are"
    with pytest.raises(ValueError, match=match):
        build(simplifier=own(spoil))
    losses = build(simplifier=own('nothing'))(*batch(), mode='loss')
    assert losses['distill.loss_kl'].isfinite()


@users_loss('SpoilingLoss')
class SpoilingLoss(nn.Module):
    """Finite in value; its gradient to the teacher is spoilt in one row."""

    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def forward(self, preds_S, preds_T):
        loss = (preds_S - preds_T).square().mean()
        one = preds_T[1, 2]
        if self.spoil == 'nan':  # 0 times infinity
            return loss + (0 * one).abs().sqrt()
        if self.spoil == 'inf':
            return loss + (one - one.detach()).sqrt()
        return loss + 0 * one


@pytest.mark.parametrize('spoil', ['nan', 'inf'])
def test_a_loss_whose_gradient_is_not_finite_in_one_row_is_refused(spoil):
    def own(spoil):
        loss = {'loss_x': dict(type='SpoilingLoss', spoil=spoil)}
        simplifier = dict(type='AttentionSimplifierConnector', tau=4)
        return dict(losses=loss, simplifier=simplifier, simplified_losses=dict(loss_x='preds_T'))

    with pytest.raises(ValueError, match=r'loss_x: gradient of SpoilingLoss to its preds_T='):
        build(**own(spoil))
    losses = build(**own('nothing'))(*batch(), mode='loss')
    assert losses['distill.loss_x'].isfinite()


@users_loss('CountingLoss')
class CountingLoss(nn.Module):
    """A loss with a state, as a memory bank is."""

    def __init__(self):
        super().__init__()
        self.register_buffer('calls', torch.zeros(()))
        self.seen = []

    def forward(self, preds_S, preds_T):
        self.calls += 1
        self.seen.append(1)
        return (preds_S - preds_T).square().mean()


@users_loss('FailingLoss')
class FailingLoss(nn.Module):
    """Fails in training, as often as it is told."""

    def __init__(self, times):
        super().__init__()
        self.left = [times]

    def __deepcopy__(self, memo):
        return self  # Its failures are those of a resource, not its own.

    def forward(self, preds_S, preds_T):
        if preds_T.shape[0] == 6 and self.left[0]:
            self.left[0] -= 1
            raise RuntimeError('the size of tensor a must match')
        return (preds_S - preds_T).square().mean()


def failing(times):
    losses = {'loss_a': dict(type='CountingLoss'), 'loss_b': dict(type='FailingLoss', times=times)}
    return build({**losses, 'loss_kl': KL}, simplified_losses=dict(loss_kl='preds_T'))


def test_a_loss_that_fails_is_named_and_the_others_are_left_as_they_were():
    model = failing(times=2)
    with pytest.raises(ValueError, match=r'loss_forward_mappings\.loss_b=.*RuntimeError: the size'):
        model(*batch(6), mode='loss')
    before = model.distiller.distill_losses['loss_a']
    assert (before.calls, len(before.seen)) == (1, 1), 'once in the step, not in the search'


def test_a_failure_that_does_not_come_again_is_an_error_all_the_same():
    with pytest.raises(ValueError, match=r"distiller='SKDDistiller', .*RuntimeError: the size"):
        failing(times=1)(*batch(6), mode='loss')
    losses = failing(times=0)(*batch(6), mode='loss')
    assert losses['distill.loss_b'].isfinite()


OUTPUTS = dict(type='ModuleOutputs', source='head.fc')


@pytest.mark.parametrize(
    ('part', 'cfg', 'reason'),
    [
        ('student_recorders', dict(type='ModuleOutput', source='head.fc'), 'KeyError'),
        ('teacher_recorders', dict(type='ModuleOutputs', sauce='head.fc'), 'TypeError'),
        ('distill_deliveries', dict(type='MethodOutputs', max_keep_data='one'), 'TypeError'),
        ('connectors', dict(type='NoConnector'), 'KeyError'),
        ('distill_losses', dict(type='KLDivergence', temperature=4), 'TypeError'),
    ],
)
def test_the_part_that_cannot_be_built_is_named(part, cfg, reason):
    """Beside a sound one, which is not."""
    good = dict(
        student_recorders={},
        teacher_recorders={},
        distill_losses={'loss_kl': KL},
        connectors=dict(sound=dict(type='TorchFunctionalConnector', function_name='relu')),
    ).get(part, {})
    cfgs = {**distiller({'loss_kl': KL}).get(part, good), **good, 'bad': cfg}
    with pytest.raises(
        (ValueError, TypeError), match=rf'distiller\.{part}\.bad=.*{reason}'
    ) as found:
        build(**{part: cfgs})
    assert "'bad': {" not in str(found.value), 'the part alone, not all of its kind'


@pytest.mark.parametrize('part', ['distill_losses', 'loss_forward_mappings'])
def test_a_part_of_another_form_is_named(part):
    with pytest.raises((ValueError, TypeError), match=rf'distiller\.{part}=\[1\]'):
        build(**{part: [1]})


def test_an_argument_that_no_distiller_takes_is_named():
    """Each part can be built alone; it is the whole that cannot."""
    with pytest.raises(TypeError, match=r"distiller\.\*=.*'temperature'"):
        build(temperature=4)

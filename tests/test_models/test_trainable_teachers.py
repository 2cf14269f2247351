"""A teacher that trains is reached by the losses that say so, and by no other."""

import pytest
import torch

from ..conftest import batch
from .skd_models import LOGIT_LOSSES, build


@pytest.mark.parametrize(('loss', 'reached'), [({}, False), (dict(teacher_detach=False), True)])
def test_a_trainable_teacher_is_reached_only_where_the_loss_says_so(loss, reached):
    losses = {'loss_kl': dict(type='KLDivergence', tau=4, **loss)}
    model = build(losses, algorithm_arguments=dict(teacher_trainable=True))
    model(*batch(), mode='loss')['distill.loss_kl'].backward()
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0
    assert (model.teacher.head.fc.weight.grad is not None) is reached


def test_a_trainable_teacher_learns_by_a_loss_that_always_lets_it():
    reached = []
    for skd in (False, True):
        losses = {'loss_wsld': LOGIT_LOSSES['WSLD']}
        model = build(losses, skd, algorithm_arguments=dict(teacher_trainable=True))
        model(*batch(), mode='loss')['distill.loss_wsld'].backward()
        reached.append(model.teacher.head.fc.weight.grad)
    assert all(gradient.abs().sum() > 0 for gradient in reached)


def test_what_one_loss_keeps_from_a_trainable_teacher_no_other_loss_passes():
    losses = {
        'loss_kl': dict(type='KLDivergence', tau=4),
        'loss_open': dict(type='KLDivergence', tau=4, teacher_detach=False),
    }
    model = build(losses, algorithm_arguments=dict(teacher_trainable=True))
    found = model(*batch(), mode='loss')
    weight = model.teacher.head.fc.weight
    gradients = [
        torch.autograd.grad(found[f'distill.{name}'], weight, retain_graph=True, allow_unused=True)
        for name in losses
    ]
    assert gradients[0] == (None,)
    assert gradients[1][0].abs().sum() > 0

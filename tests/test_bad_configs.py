"""Bad configs are refused by a message that names their key, the value and what is expected.

``test_mutated_configs.py`` tries every key of ``valid_configs.py``.
"""

import copy

import pytest
import torch
from mmrazor.registry import MODELS

from skd_mmrazor.models.distillers.checks.records import name_loss

from .conftest import algorithm
from .valid_configs import (
    SIMPLIFIER,
    VALID,
    assert_is_ours,
    assert_trains,
    logit_config,
    rename,
    train_step,
)


@pytest.mark.parametrize('name', VALID)
def test_valid_configs_train(name):
    assert_trains(train_step(VALID[name]))


def changed(name, **arguments):
    return dict(copy.deepcopy(VALID[name]), **arguments)


def mapping(loss, **records):
    records = dict(copy.deepcopy(VALID['kd']['loss_forward_mappings']['loss_kl']), **records)
    return {loss: records}


FROM_TEACHER = dict(recorder='fc', from_student=False)
RKD = dict(loss_rkd=dict(type='DistanceWiseRKD'))


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            changed('kd', simplifer=SIMPLIFIER),
            r"distiller\.\*=.*expected arguments.*unexpected keyword argument 'simplifer'",
        ),
        (
            changed('dist', entropy_grad=0.5),
            r"entropy_grad=0\.5, expected 0: .* no part in .*'DISTLoss'",
        ),
        (
            changed('log-space dkd', entropy_grad=1.0),
            r'loss_dkd\.entropy_grad=0\.5, expected 1\.0, as distiller\.entropy_grad',
        ),
        (
            changed('kd', logits_module='head.fc2'),
            r"distiller\.logits_module='head\.fc2', expected the module of the logits of the",
        ),
        (
            changed('kd', logit_loss=dict(type='KLDivergence')),
            r'distiller\.logit_loss=.*, expected nothing: no loss is added beside',
        ),
        (changed('features', logit_loss={}), r'distiller\.logit_loss=\{\}, expected the config'),
        (
            changed('features', logits_module='fc'),
            r"distiller\.logits_module='fc', expected the module of the logits of the",
        ),
        (
            changed(
                'kd',
                distill_losses=dict(kd=dict(type='KLDivergence')),
                loss_forward_mappings=mapping('kd'),
            ),
            r"distill_losses='kd', expected a name with 'loss' in it",
        ),
        (
            changed('kd', loss_forward_mappings=mapping('loss_kl', preds_S=FROM_TEACHER)),
            r"loss_forward_mappings=.*, expected a loss with 'from_student=True'",
        ),
        (
            changed(
                'kd and wsld',
                loss_forward_mappings=dict(
                    VALID['kd and wsld']['loss_forward_mappings'],
                    **mapping('loss_kl', preds_S=FROM_TEACHER),
                ),
            ),
            r'loss_kl\.preds_S\.from_student=False, expected True',
        ),
        (
            changed('kd', loss_forward_mappings=mapping('loss_kl', preds_X=FROM_TEACHER)),
            r'loss_forward_mappings\.loss_kl=.*preds_X is not in the signature of KLDivergence',
        ),
        (
            changed('kd', distill_losses=dict(loss_kl=dict(type='KLDiv'))),
            r"distill_losses\.loss_kl=\{'type': 'KLDiv'\}, .*KeyError: 'KLDiv is not in",
        ),
        (
            changed(
                'kd', distill_losses=dict(loss_kl=dict(type='KLDivergence', teacher_detach='no'))
            ),
            r"loss_kl\.teacher_detach='no', expected True or False",
        ),
        (
            changed('kd', simplifier=dict(SIMPLIFIER, heads=2)),
            r"distiller\.simplifier=.*TypeError: .*unexpected keyword argument 'heads'",
        ),
    ],
)
def test_messages(cfg, message):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        train_step(cfg)
    assert_is_ours(caught.value, 'distiller')


def test_a_loss_that_is_not_computed_is_said_to_be():
    cfg = changed('kd', distill_losses=dict(VALID['kd']['distill_losses'], **RKD))
    with pytest.warns(UserWarning, match=r"distill_losses\.loss_rkd is not .*\['loss_kl'\]"):
        MODELS.build(algorithm(cfg))


def test_a_student_of_other_classes_is_refused_when_built():
    message = (
        r'student_recorders\.fc: num_classes=7, expected 10, as distiller\.teacher_recorders\.fc'
    )
    with pytest.raises(ValueError, match=message):
        train_step(VALID['kd'], classes=(7, 10))


def test_an_added_loss_does_not_replace_one_of_its_name():
    cfg = copy.deepcopy(VALID['features'])
    for part in ('distill_losses', 'loss_forward_mappings'):
        rename(cfg, (part, 'loss_rkd'), 'loss_skd')
    with pytest.raises(ValueError, match=r"\['loss_skd'\], expected no 'loss_skd', which"):
        train_step(cfg)


def test_entropy_grad_reaches_a_log_space_loss_of_the_config():
    losses = {'loss_dkd': dict(type='LogSpaceDKDLoss')}
    trained = train_step(logit_config(losses, entropy_grad=0.3))
    assert trained.distill_losses['loss_dkd'].entropy_grad == 0.3


def test_running_out_of_memory_stays_what_it_is():
    """mmengine and users catch ``OutOfMemoryError`` by its type."""
    with pytest.raises(torch.cuda.OutOfMemoryError), name_loss(None):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')

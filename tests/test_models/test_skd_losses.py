"""Which loss SKD takes for that of a config, and at which temperature."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmrazor.registry import MODELS

from skd_mmrazor.models import LogSpaceDKDLoss, LogSpaceKLDivergence

from ..conftest import algorithm, batch, classifier
from .skd_models import LOGIT_LOSSES, build, simplifier, total, train


def test_skd_with_mmrazors_dkd_trains_without_nan_and_keeps_its_weight():
    """mmrazor's reduction='mean' is a sum; SKD keeps that, and says so once."""
    losses = {'loss_dkd': dict(type='DKDLoss', tau=1, beta=0.5, reduction='mean')}
    with pytest.warns(UserWarning, match=r'loss_dkd: .* sums .*LogSpaceDKDLoss') as record:
        model = build(losses)
    assert sum('LogSpaceDKDLoss' in str(w.message) for w in record) == 1
    loss = model.distiller.distill_losses['loss_dkd']
    theirs = MODELS.build(dict(losses['loss_dkd'], _scope_='mmrazor'))
    s, t, labels = torch.randn(6, 10), torch.randn(6, 10), torch.randint(10, (6,))
    torch.testing.assert_close(loss(s, t, labels), theirs(s, t, labels))
    last = train(model, steps=5)
    assert all(value.isfinite().all() for value in last.values())
    assert all(p.isfinite().all() for p in model.parameters())


def test_default_dkd_needs_no_warning(recwarn):
    build({'loss_dkd': dict(type='DKDLoss')})
    assert not [w for w in recwarn if 'DKD' in str(w.message)]


def test_losses_are_replaced_only_where_they_must_be():
    model = build(
        {
            'loss_kl': LOGIT_LOSSES['KLDivergence'],
            'loss_dkd': LOGIT_LOSSES['DKDLoss'],
            'loss_dist': LOGIT_LOSSES['DISTLoss'],
            'loss_wsld': LOGIT_LOSSES['WSLD'],
        }
    )
    losses = model.distiller.distill_losses
    assert type(losses['loss_kl']) is LogSpaceKLDivergence
    assert type(losses['loss_dkd']) is LogSpaceDKDLoss
    assert type(losses['loss_dist']).__name__ == 'DISTLoss'
    assert losses['loss_dist'].teacher_detach is False
    assert type(losses['loss_wsld']).__name__ == 'WSLD'


def test_losses_of_a_high_temperature_are_replaced_too():
    """Float32 rounds away most digits of a divergence of targets that are nearly uniform."""
    model = build(
        {'loss_kl': dict(type='KLDivergence', tau=100), 'loss_dkd': dict(type='DKDLoss', tau=100)}
    )
    assert type(model.distiller.distill_losses['loss_kl']) is LogSpaceKLDivergence
    assert type(model.distiller.distill_losses['loss_dkd']) is LogSpaceDKDLoss


def test_classes_and_temperature_come_from_teacher_and_loss():
    model = build(
        {'loss_kl': dict(type='KLDivergence', tau=3)},
        algorithm_arguments=dict(
            architecture=classifier(2, num_classes=7), teacher=classifier(4, num_classes=7)
        ),
    )
    assert model.distiller.simplifier.num_classes == 7
    assert model.distiller.simplifier.tau == 3
    # Of a loss that has no temperature.
    assert build({'loss_l2': dict(type='L2Loss')}).distiller.simplifier.tau == 1


def test_own_temperature_settles_losses_that_differ():
    losses = {
        'loss_a': dict(type='KLDivergence', tau=1),
        'loss_b': dict(type='KLDivergence', tau=4),
    }
    with pytest.raises(ValueError, match=r"simplifier\.tau=None, expected a number.*'loss_b': 4"):
        build(losses)
    assert build(losses, simplifier=simplifier(tau=2)).distiller.simplifier.tau == 2


@pytest.mark.parametrize('loss', ['KDSoftCELoss', 'DISTLoss', 'WSLD'])
@pytest.mark.parametrize('own', [{}, dict(tau=1)])
def test_a_temperature_that_is_not_positive_is_named_where_it_stands(loss, own):
    """Also where the simplifier has one of its own."""
    losses = {'loss_x': dict(LOGIT_LOSSES[loss], tau=-1)}
    with pytest.raises(ValueError, match=r'distill_losses\.loss_x\.tau=-1, expected a positive'):
        build(losses, simplifier=simplifier(**own))


def test_features_only_gain_a_logit_loss():
    """In a config whose default scope is that of another library, too."""
    feature = dict(type='mmrazor.ModuleOutputs', source='neck')
    cfg = dict(
        type='mmrazor.SKDDistiller',
        simplifier=simplifier(),
        student_recorders=dict(neck=feature),
        teacher_recorders=dict(neck=dict(feature)),
        distill_losses=dict(loss_rkd=dict(type='mmrazor.DistanceWiseRKD', with_l2_norm=True)),
        loss_forward_mappings=dict(
            loss_rkd=dict(
                preds_S=dict(recorder='neck', from_student=True, data_idx=0),
                preds_T=dict(recorder='neck', from_student=False, data_idx=0),
            )
        ),
    )
    cfg = algorithm(cfg, type='mmrazor.SingleTeacherDistill')
    del cfg['_scope_']
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    losses = model(*batch(), mode='loss')
    assert {'distill.loss_rkd', 'distill.loss_skd'} <= set(losses)
    total(losses).backward()
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0


def test_a_maximised_loss_is_refused():
    with pytest.raises(ValueError, match=r'loss_x.loss_weight=-1.* not a generator'):
        build({'loss_x': dict(LOGIT_LOSSES['KLDivergence'], loss_weight=-1)})


def test_a_loss_of_weight_0_is_computed():
    """As in a control; its gradient is 0, as that of a loss that cannot train is."""
    model = build({'loss_x': dict(LOGIT_LOSSES['KLDivergence'], loss_weight=0)})
    losses = model(*batch(), mode='loss')
    assert losses['distill.loss_x'] == 0
    assert losses['distill.teacher_entropy'] > 0

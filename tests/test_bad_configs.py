"""Bad configs are refused by a message that names their key, the value and what is expected.

``test_mutated_configs.py`` tries every key of the valid configs that stand here.
"""

import copy
import traceback
import warnings
from pathlib import Path

import pytest
import torch
from mmrazor.registry import MODELS

import skd_mmrazor
from skd_mmrazor.models.distillers.checks.errors import name_loss

from .conftest import algorithm, batch, classifier, distiller

SIMPLIFIER = dict(type='AttentionSimplifierConnector')
FC = dict(type='ModuleOutputs', source='head.fc')
NECK = dict(type='ModuleOutputs', source='neck')
FORWARD = 'mmpretrain.models.heads.linear_head.LinearClsHead.forward'


def logit_config(losses, **arguments):
    cfg = distiller(losses, **arguments)
    if not any('gt_labels' in mapping for mapping in cfg['loss_forward_mappings'].values()):
        cfg['student_recorders'].pop('gt_labels', None)
    return cfg


def feature_config(**arguments):
    """A loss of pooled features, with a connector, and none of logits."""
    return dict(
        type='SKDDistiller',
        simplifier=dict(SIMPLIFIER),
        student_recorders=dict(neck=dict(NECK)),
        teacher_recorders=dict(neck=dict(NECK)),
        connectors=dict(widen=dict(type='TorchFunctionalConnector', function_name='relu')),
        distill_losses=dict(loss_rkd=dict(type='DistanceWiseRKD', with_l2_norm=True)),
        loss_forward_mappings=dict(
            loss_rkd=dict(
                preds_S=dict(recorder='neck', from_student=True, data_idx=0, connector='widen'),
                preds_T=dict(recorder='neck', from_student=False, data_idx=0, record_idx=0),
            )
        ),
        **arguments,
    )


VALID = {
    'kd': logit_config({'loss_kl': dict(type='KLDivergence', tau=4, reduction='mean')}),
    'kd with all arguments': logit_config(
        {'loss_kl': dict(type='KLDivergence', tau=2, loss_weight=3.0, teacher_detach=True)},
        simplified_losses=dict(loss_kl='preds_T'),
        entropy_grad=0.5,
        simplifier=dict(
            SIMPLIFIER,
            num_classes=10,
            tau=4.0,
            attend_over='classes',
            embed_dims=16,
            num_heads=2,
            max_lam=0.2,
            learn_lam=False,
            softening='scale',
        ),
    ),
    'dkd': logit_config({'loss_dkd': dict(type='DKDLoss', tau=4, alpha=1.0, beta=2.0)}),
    'log-space dkd': logit_config({'loss_dkd': dict(type='LogSpaceDKDLoss', entropy_grad=0.5)}),
    'dist': logit_config({'loss_dist': dict(type='DISTLoss', inter_loss_weight=2.0, tau=2)}),
    'l2 on logits': logit_config({'loss_l2': dict(type='L2Loss', loss_weight=0.5)}),
    'kd and wsld': logit_config(
        {
            'loss_kl': dict(type='KLDivergence', tau=2),
            'loss_wsld': dict(type='WSLD', tau=2, num_classes=10),
        }
    ),
    'methods': logit_config(
        {'loss_ce': dict(type='KDSoftCELoss', tau=2, mult_tem_square=False)},
        student_recorders=dict(fc=dict(type='MethodOutputs', source=FORWARD)),
        distill_deliveries=dict(
            loss=dict(
                type='MethodOutputs',
                max_keep_data=1,
                method_path='mmpretrain.models.heads.cls_head.ClsHead._get_loss',
            )
        ),
    ),
    'features': feature_config(),
    'features and logits': feature_config(
        logits_module='head.fc', logit_loss=dict(type='KLDivergence', tau=3.0)
    ),
}


def paths(node, path=()):
    """Every key of nested dicts, but for the type of the distiller itself."""
    for key, value in node.items():
        if path or key != 'type':
            yield (*path, key)
            if isinstance(value, dict):
                yield from paths(value, (*path, key))


def parent(cfg, path):
    for key in path[:-1]:
        cfg = cfg[key]
    return cfg


def rename(cfg, path, name):
    owner = parent(cfg, path)
    items = [(name if key == path[-1] else key, value) for key, value in owner.items()]
    owner.clear()
    owner.update(items)


def train_step(cfg, classes=(10, 10)):
    """Builds student, teacher and distiller and makes a step; returns the distiller."""
    student, teacher = (classifier(w, n) for w, n in zip((2, 4), classes, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = MODELS.build(algorithm(copy.deepcopy(cfg), architecture=student, teacher=teacher))
        model.distiller.init_weights()
        losses = model(*batch(num_classes=min(classes)), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite(), losses
    return model.distiller


def assert_trains(distiller):
    simplifier = distiller.simplifier
    gradients = [p.grad for p in simplifier.parameters()]
    assert all(g is None or g.isfinite().all() for g in gradients)
    learns = any(g is not None and g.abs().max() > 0 for g in gradients)
    held = getattr(simplifier, 'max_lam', None) == 0
    weights = ('loss_weight', 'alpha', 'beta', 'inter_loss_weight', 'intra_loss_weight')
    losses = distiller.distill_losses.values()
    muted = any(getattr(loss, weight, 1) == 0 for loss in losses for weight in weights)
    assert learns or held or muted


def assert_is_ours(error, *names):
    """The error was raised in this package, in its form, and has one of these names."""
    frames = traceback.extract_tb(error.__traceback__)
    assert Path(frames[-1].filename).is_relative_to(Path(skd_mmrazor.__file__).parent), frames
    assert type(error) in (ValueError, TypeError)  # mmengine may rebuild it from one string
    message = str(error)
    assert 'expected' in message, message
    assert 'distiller.' in message, message
    assert not names or any(str(name) in message for name in names), (message, names)


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

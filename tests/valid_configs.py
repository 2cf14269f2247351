"""Valid configs, a step with one of them, and what a refusal has to say."""

import copy
import traceback
import warnings
from pathlib import Path

from mmrazor.registry import MODELS

import skd_mmrazor

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

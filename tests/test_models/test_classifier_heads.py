"""Heads of classifiers: independent classes are seen, and one of several heads is named."""

import warnings

import pytest
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor.models import AttentionSimplifierConnector
from skd_mmrazor.models.distillers.logits.modules import LogitModel, get_logits_layer

from ..conftest import classifier
from .logit_records import KL, METHOD, SKD, build, records


def test_a_sigmoid_is_seen_from_the_head_itself():
    network = classifier(4)
    network['head'].update(type='MultiLabelLinearClsHead', loss=None)
    del network['head']['loss']
    for name in ('head', 'head.fc'):
        model = build({}, {}, {}, network, network, logits_module=name)
        loss = model.distiller.distill_losses['loss_skd']
        assert type(loss).__name__ == 'LogSpaceBinaryKLDivergence'


SIGMOID = dict(type='MultiLabelLinearClsHead', num_classes=10, in_channels=8)
FEATURES = dict(
    preds_S=dict(recorder='neck', from_student=True, data_idx=0),
    preds_T=dict(recorder='neck', from_student=False, data_idx=0),
)
RKD = (
    dict(neck=dict(type='ModuleOutputs', source='neck')),
    dict(loss_rkd=dict(type='DistanceWiseRKD')),
    dict(loss_rkd=FEATURES),
)


def with_head(head):
    return dict(classifier(4), head=head)


@pytest.mark.parametrize('loss', [dict(type='FocalLoss'), dict(type='AsymmetricLoss')])
@pytest.mark.parametrize('type_', ['AttentionSimplifierConnector', AttentionSimplifierConnector])
def test_independent_classes_are_distilled_as_such(loss, type_):
    """Whatever the head's loss, and in configs of names and of classes."""
    head = with_head(dict(SIGMOID, loss=loss))
    distiller = build(*RKD, head, head, simplifier=dict(type=type_)).distiller
    assert type(distiller.distill_losses['loss_skd']).__name__ == 'LogSpaceBinaryKLDivergence'
    assert distiller.simplifier.softening == 'scale'


@pytest.mark.parametrize('names', [['loss_kl', 'loss_binary'], ['loss_binary', 'loss_kl']])
def test_one_loss_of_independent_classes_is_enough(names):
    """Beside it a loss with a softmax reads the same logits."""
    losses = dict(loss_kl=KL, loss_binary=dict(type='LogSpaceBinaryKLDivergence', tau=4))
    losses = {name: losses[name] for name in names}
    fc = dict(fc=dict(type='ModuleOutputs', source='head.fc'))
    distiller = build(fc, losses, {name: records('fc') for name in names}).distiller
    assert set(distiller.simplified_losses) == set(names)
    assert distiller.simplifier.softening == 'scale'


SMOOTH = dict(type='LabelSmoothLoss', label_smooth_val=0.1)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        (dict(type='CrossEntropyLoss', use_sigmoid=True), 'LogSpaceBinaryKLDivergence'),
        (dict(SMOOTH, mode='multi_label'), 'LogSpaceBinaryKLDivergence'),
        (SMOOTH, 'LogSpaceKLDivergence'),
    ],
)
def test_a_sigmoid_is_seen_from_the_loss_of_a_head(settings, expected):
    """Or from that within a loss that smooths the labels."""
    head = with_head(dict(SIGMOID, type='LinearClsHead', loss=settings))
    loss = build(*RKD, head, head).distiller.distill_losses['loss_skd']
    assert type(loss).__name__ == expected


TASKS = {
    name: dict(type='LinearClsHead', num_classes=count, loss=dict(type='CrossEntropyLoss'))
    for name, count in (('shape', 6), ('colour', 3))
}


def test_of_several_heads_the_one_that_a_loss_is_added_to_is_named():
    head = with_head(dict(type='MultiTaskHead', task_heads=TASKS, in_channels=8))
    with pytest.warns(UserWarning, match=r"reads 'head\.task_heads\.shape\.fc' alone"):
        assert build(*RKD, head, head).distiller.simplifier.num_classes == 6
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = build(*RKD, head, head, logits_module='head.task_heads.colour.fc')
    assert model.distiller.simplifier.num_classes == 3


@pytest.mark.filterwarnings('ignore:.*taken for logits')
def test_a_number_of_classes_that_nothing_tells_is_asked_for():
    """Of a method it could be either of those of two heads."""
    head = with_head(dict(type='MultiTaskHead', task_heads=TASKS, in_channels=8))
    parts = dict(fc=METHOD), dict(loss_kl=KL), dict(loss_kl=records('fc')), head, head
    with pytest.raises(
        ValueError, match=r'simplifier\.num_classes=None, expected a number, which the '
    ):
        build(*parts)
    model = build(*parts, simplifier=dict(SKD['simplifier'], num_classes=6))
    assert model.distiller.simplifier.num_classes == 6


def test_a_head_is_the_nearest_parent_that_has_classes():
    model = nn.Module()
    model.head = nn.Module()
    model.head.num_classes = 4
    model.head.layers = nn.Sequential(nn.Linear(2, 4))
    logits = LogitModel('student', model)
    assert logits.get_head('head.layers.0') is model.head
    assert logits.get_head('nothing.of.it') is model


def test_one_class_is_no_number_to_know_logits_by():
    """As that of an RPN: what has one channel is most often something else."""
    model = nn.Module()
    model.rpn_head, model.bbox_head = nn.Module(), nn.Module()
    model.rpn_head.num_classes, model.bbox_head.num_classes = 1, 5
    assert LogitModel('student', model).class_counts == {5}


def test_the_layer_of_the_logits_may_be_nested_in_its_head():
    class VisionTransformerClsHead(nn.Module):
        """As that of mmpretrain."""

        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict({'head': nn.Linear(2, 3)})

    head = VisionTransformerClsHead()
    assert get_logits_layer(head) is head.layers['head']
    assert get_logits_layer(nn.Linear(2, 3)) is None


def test_without_a_number_of_classes_the_last_layer_may_be_that_of_the_logits():
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8))
    assert "whose logits may be of ['1']" in LogitModel('teacher', network).describe()


@MODELS.register_module()
class FixedSimplifier(AttentionSimplifierConnector):
    """Lets no config choose its softening."""

    def __init__(self, num_classes, tau):
        super().__init__(num_classes, tau, softening='log_softmax')


def test_the_softening_of_ones_own_simplifier_is_not_replaced_in_silence():
    head = with_head(SIGMOID)
    own = dict(simplifier=dict(type='FixedSimplifier'))
    with pytest.raises(TypeError, match=r"distiller\.simplifier=.*argument 'softening'"):
        build(*RKD, head, head, **own)
    softmax = classifier(4)
    assert build(*RKD, softmax, softmax, **own).distiller.simplifier.softening == 'log_softmax'

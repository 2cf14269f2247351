"""Which records are logits: by recorder, module and connector, not by the loss's class."""

import warnings

import pytest
import torch
from mmrazor.registry import MODELS

from ..conftest import classifier
from .logit_records import FC, KL, LINEAR, build, records, step


@pytest.fixture
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        yield


@pytest.mark.usefixtures('no_warning')
@pytest.mark.parametrize(
    'recorder',
    [
        dict(type='ModuleInputs', source='head.fc'),
        dict(type='ModuleOutputs', source='backbone.layer2'),
        dict(type='ModuleOutputs', source='neck'),
    ],
)
@pytest.mark.parametrize('loss', ['L2Loss', 'L1Loss'])
def test_a_feature_beside_logits_is_left_alone(recorder, loss):
    """Inputs of the last layer are as wide as its inputs, whatever it puts out."""
    # All but a convolution's output are tuples.
    index = {} if 'layer2' in recorder['source'] else dict(data_idx=0)
    feature = dict(
        s_feature=dict(recorder='feature', from_student=True, **index),
        t_feature=dict(recorder='feature', from_student=False, **index),
    )
    model = build(
        dict(fc=FC, feature=recorder),
        dict(loss_kl=KL, loss_feature=dict(type=loss)),
        dict(loss_kl=records('fc'), loss_feature=feature),
        # As many classes as features: only the recorder tells them apart.
        *[classifier(4, num_classes=8)] * 2,
    )
    assert model.distiller.simplified_losses == dict(loss_kl='preds_T')
    step(model, num_classes=8)


@pytest.mark.usefixtures('no_warning')
@pytest.mark.parametrize('source', ['backbone.layer2.0.conv1', 'backbone.layer2', 'neck'])
def test_a_divergence_of_feature_channels_is_left_alone(source):
    cwd = dict(type='ChannelWiseDivergence', tau=1)
    model = build(
        dict(fc=FC, feature=dict(type='ModuleOutputs', source=source)),
        dict(loss_kl=KL, loss_cwd=cwd),
        dict(loss_kl=records('fc'), loss_cwd=records('feature')),
    )
    assert list(model.distiller.simplified_losses) == ['loss_kl']


@pytest.mark.usefixtures('no_warning')
@pytest.mark.parametrize(
    ('channels', 'simplified'), [(6, ['loss_kl']), (10, ['loss_kl', 'loss_cwd'])]
)
def test_what_a_connector_makes_is_judged_by_its_width(channels, simplified):
    """Logits are as wide as the ten classes."""
    mapping = records('feature', connector='make')
    mapping['preds_S']['connector'] = 'make'
    make = dict(type='ConvModuleConnector', in_channel=8, out_channel=channels)
    model = build(
        dict(fc=FC, feature=dict(type='ModuleOutputs', source='backbone.layer2')),
        dict(loss_kl=KL, loss_cwd=dict(type='ChannelWiseDivergence', tau=4)),
        dict(loss_kl=records('fc'), loss_cwd=mapping),
        connectors=dict(make=make),
    )
    assert list(model.distiller.simplified_losses) == simplified
    step(model)


@pytest.mark.usefixtures('no_warning')
@pytest.mark.parametrize(
    ('backbone', 'source'),
    [
        (dict(type='LeNet5', num_classes=10), 'backbone.classifier.2'),
        (dict(type='VGG', depth=11, num_classes=10), 'backbone.classifier.6'),
        (dict(type='AlexNet', num_classes=10), 'backbone.classifier'),
    ],
)
def test_logits_of_a_backbone_are_logits(backbone, source):
    head = dict(type='ClsHead', loss=dict(type='CrossEntropyLoss'))
    network = dict(_scope_='mmpretrain', type='ImageClassifier', backbone=backbone, head=head)
    model = build(
        dict(fc=dict(type='ModuleOutputs', source=source)),
        dict(loss_kl=KL),
        dict(loss_kl=records('fc')),
        network,
        network,
    )
    assert model.distiller.simplified_losses == dict(loss_kl='preds_T')
    assert model.distiller.simplifier.num_classes == 10
    assert list(model.distiller.distill_losses) == ['loss_kl']


def test_a_record_that_nothing_tells_is_taken_for_logits_and_said_to_be():
    method = 'mmpretrain.models.heads.linear_head.LinearClsHead.forward'
    with pytest.warns(UserWarning, match=r'loss_kl\.preds_T is taken for logits; .*simplified_l'):
        model = build(
            dict(fc=dict(type='MethodOutputs', source=method)),
            dict(loss_kl=KL),
            dict(loss_kl=records('fc')),
        )
    assert model.distiller.simplifier.num_classes == 10
    step(model)


@MODELS.register_module()
class LogitsAndEmbedding(torch.nn.Module):
    """Logits, and an embedding of them."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(10, 7)

    def forward(self, logits):
        """Both."""
        return logits, self.fc(logits)


def test_one_of_several_outputs_of_a_connector_is_not_judged_by_its_last_layer():
    mapping = dict(loss_kl=records('fc', connector='both', connector_idx=0))
    with pytest.warns(UserWarning, match=r'loss_kl\.preds_T is taken for logits'):
        model = build(
            dict(fc=FC),
            dict(loss_kl=KL),
            mapping,
            connectors=dict(both=dict(type='LogitsAndEmbedding')),
        )
    assert list(model.distiller.simplified_losses) == ['loss_kl']
    step(model)


DOUBLE = dict(LINEAR, module_args=dict(in_features=5, out_features=10))


@pytest.mark.parametrize(
    ('connector', 'classes'), [(LINEAR, 20), (dict(type='FirstClasses'), 20), (DOUBLE, 5)]
)
def test_a_connector_may_change_the_number_of_classes(connector, classes):
    """What counts is what reaches the loss; a multiple are anchors of a pyramid alone."""
    model = build(
        dict(fc=FC),
        dict(loss_kl=KL),
        dict(loss_kl=records('fc', connector='choose')),
        teacher=classifier(4, num_classes=classes),
        connectors=dict(choose=connector),
    )
    assert model.distiller.simplifier.num_classes == 10
    step(model, num_classes=min(classes, 10))


@MODELS.register_module()
class FullyConvolutional(torch.nn.Module):
    """A backbone that ends in a convolution to the classes, as that of SqueezeNet."""

    def __init__(self, **settings):
        super().__init__()
        self.__dict__.update(settings)
        self.conv, self.classifier = torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 10, 1)

    def forward(self, images):
        """(N, 10)."""
        return (self.classifier(self.conv(images)).mean(dim=(2, 3)),)


@pytest.mark.parametrize('settings', [dict(num_classes=10), {}])
def test_a_convolution_of_a_backbone_has_logits_where_it_is_named(settings):
    head = dict(type='ClsHead', loss=dict(type='CrossEntropyLoss'))
    network = dict(_scope_='mmpretrain', type='ImageClassifier', head=head)
    network['backbone'] = dict(type='mmrazor.FullyConvolutional', **settings)
    parts = {}, {}, {}, network, network
    for name in (None, 'backbone.conv') if settings else (None,):
        with pytest.raises(ValueError, match=r'distiller\.logits_module=.*, expected the module'):
            build(*parts, logits_module=name)
    model = build(*parts, logits_module='backbone.classifier', logit_loss=dict(KL))
    assert model.distiller.simplifier.num_classes == 10
    step(model)


def test_the_module_of_the_logits_is_named_for_each_model():
    student = classifier(4)
    student['head'] = dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=8,
        mid_channels=[6],
        loss=dict(type='CrossEntropyLoss'),
    )
    feature = dict(type='ModuleOutputs', source='neck')
    rkd = dict(type='DistanceWiseRKD')
    mapping = dict(
        preds_S=dict(recorder='neck', from_student=True, data_idx=0),
        preds_T=dict(recorder='neck', from_student=False, data_idx=0),
    )
    parts = dict(neck=feature), dict(loss_rkd=rkd), dict(loss_rkd=mapping), student
    names = dict(student='head.layers.1.fc', teacher='head.fc')
    model = build(*parts, logits_module=names)
    assert model.distiller.student_recorders.get_recorder('loss_skd').source == 'head.layers.1.fc'
    assert step(model)['distill.loss_skd'] > 0
    with pytest.raises(
        ValueError,
        match=r"logits_module=None, expected .* of the student .*\['head\.layers\.1\.fc'\]",
    ):
        build(*parts)
    for wrong in (dict(student='head.fc'), 3, dict(student='a', teacher=None)):
        with pytest.raises(ValueError, match=r'distiller\.logits_module=.*, expected the name'):
            build(*parts, logits_module=wrong)

"""Which records are logits: by recorder, module and connector, not by the loss's class."""

import contextlib
import copy
import re
import warnings

import pytest
import torch
from mmrazor.models import losses as mmrazor_losses
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor.models import AttentionSimplifierConnector, LogSpaceKLDivergence
from skd_mmrazor.models.distillers.logits.heads import get_head

from ..conftest import algorithm, batch, classifier

SKD = dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
KL = dict(type='KLDivergence', tau=4)
FC = dict(type='ModuleOutputs', source='head.fc')


def records(student, teacher=None, **teacher_keys):
    """A mapping's two records, of recorders of the same name on both sides."""
    return dict(
        preds_S=dict(recorder=student, from_student=True),
        preds_T=dict(recorder=teacher or student, from_student=False, **teacher_keys),
    )


def build(recorders, losses, mappings, architecture=None, teacher=None, **arguments):
    cfg = dict(
        SKD,
        student_recorders=recorders[0] if isinstance(recorders, tuple) else recorders,
        teacher_recorders=recorders[1] if isinstance(recorders, tuple) else recorders,
        distill_losses=losses,
        loss_forward_mappings=mappings,
    )
    cfg.update(arguments)
    return MODELS.build(
        copy.deepcopy(
            algorithm(
                cfg,
                architecture=architecture or classifier(4),
                teacher=teacher or classifier(4),
            )
        )
    )


def step(model, size=4, num_classes=10):
    losses = model(*batch(size, num_classes), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert loss.isfinite()
    return losses


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
class OwnLoss(torch.nn.Module):
    """A loss of a user's own."""

    def __init__(self, **settings):
        super().__init__()
        self.__dict__.update(settings)

    def forward(self, preds_S, preds_T):
        """Squared distance."""
        return (preds_S - preds_T).square().mean()


OWN = dict(type='OwnLoss')


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


@MODELS.register_module()
class FirstClasses(torch.nn.Module):
    """A choice of classes."""

    def forward(self, logits):
        """The first ten."""
        return logits[:, :10]


@MODELS.register_module()
class LogitsAndEmbedding(torch.nn.Module):
    """Logits, and an embedding of them."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(10, 7)

    def forward(self, logits):
        """Both."""
        return logits, self.fc(logits)


METHOD = dict(
    type='MethodOutputs', source='mmpretrain.models.heads.linear_head.LinearClsHead.forward'
)
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


LINEAR = dict(
    type='TorchNNConnector', module_name='Linear', module_args=dict(in_features=20, out_features=10)
)


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


def test_a_sigmoid_is_seen_from_the_head_itself():
    network = classifier(4)
    network['head'].update(type='MultiLabelLinearClsHead', loss=None)
    del network['head']['loss']
    for name in ('head', 'head.fc'):
        model = build({}, {}, {}, network, network, logits_module=name)
        loss = model.distiller.distill_losses['loss_skd']
        assert type(loss).__name__ == 'LogSpaceBinaryKLDivergence'


class _Volume(torch.nn.Module):
    def __init__(self, shape, step=1):
        super().__init__()
        self.shape, self.step = shape, step

    def forward(self, logits):
        return logits.reshape(logits.shape[0], -1, *self.shape)[..., :: self.step]


@pytest.mark.parametrize('shape', [(2,), (1, 2, 1)])
def test_volumes_and_sequences_of_logits_are_simplified(shape):
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    model = build(
        dict(fc=FC),
        dict(loss_kl=KL),
        dict(
            loss_kl=dict(
                preds_S=dict(recorder='fc', from_student=True, connector='volume'),
                preds_T=dict(recorder='fc', from_student=False, connector='volume'),
            )
        ),
        connectors=dict(volume=dict(type='Volume', shape=shape)),
        simplifier=dict(SKD['simplifier'], num_classes=5),
    )
    step(model)


@pytest.mark.parametrize('shape', [(2,), (1, 1, 2)])
def test_volumes_and_sequences_of_other_sizes_are_told_the_connector(shape):
    """With an interpolation that takes them."""
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    volume = dict(type='Volume', shape=shape)
    mapping = records('fc', connector='fewer')
    mapping['preds_S']['connector'] = 'volume'
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping)
    settings = dict(simplifier=dict(SKD['simplifier'], num_classes=5))
    fewer = dict(volume, step=2)
    with pytest.raises(ValueError, match=r'loss_kl: shapes of the logits=') as caught:
        step(build(*parts, connectors=dict(volume=volume, fewer=fewer), **settings))
    (told,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    resized = [fewer, eval(told)['resize']]
    step(build(*parts, connectors=dict(volume=volume, fewer=resized), **settings))


def test_logits_of_other_dimensions_are_not_spread_over_each_other():
    """As those of a convolution of pooled maps, beside those of a linear layer."""
    MODELS.register_module(name='Volume', module=_Volume, force=True)
    pooled, flat = (dict(type='Volume', shape=shape) for shape in ((1, 1), ()))
    mapping = records('fc')
    mapping['preds_S']['connector'] = 'reshape'
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping)
    with pytest.raises(ValueError, match=r'shapes of the logits=.*, expected as many dimensions'):
        step(build(*parts, connectors=dict(reshape=pooled)))
    step(build(*parts, connectors=dict(reshape=[pooled, flat])))


def test_classes_last_are_told_what_to_do():
    model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc')))
    with pytest.raises(ValueError, match=r'\(2, 7, 10\), expected .*flatten\(0, -2\)'):
        model.distiller.simplifier(torch.randn(2, 7, 10))


@MODELS.register_module()
class ClassesLast(torch.nn.Module):
    """As queries have them."""

    def forward(self, logits):
        """(1, B, C)."""
        return logits.unsqueeze(0)


@MODELS.register_module()
class FlattenQueries(torch.nn.Module):
    """What the message says."""

    def forward(self, logits):
        """(B * Q, C)."""
        return logits.flatten(0, -2)


def test_classes_last_train_as_they_are_told():
    mapping = records('fc', connector='queries')
    mapping['preds_S']['connector'] = 'queries'
    for last, valid in ((['ClassesLast'], False), (['ClassesLast', 'FlattenQueries'], True)):
        connectors = dict(queries=[dict(type=name) for name in last])
        model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=mapping), connectors=connectors)
        with contextlib.nullcontext() if valid else pytest.raises(ValueError, match='the classes'):
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
        r"simplified_losses chooses of \['loss_kl', 'loss_aux'\]"
    )
    with pytest.raises(ValueError, match=message):
        build(*parts, connectors=dict(halve=halve), simplified_losses=named)
    step(build(*parts, connectors=dict(halve=halve), simplified_losses=dict(loss_kl='preds_T')))


def test_hard_labels_beside_kl_are_told_the_line_that_settles_it():
    parts = (
        dict(fc=FC),
        dict(loss_kl=KL, loss_ce=dict(type='CrossEntropyLoss')),
        dict(loss_kl=records('fc'), loss_ce=records('fc')),
    )
    with pytest.raises(ValueError, match=r"or distiller\.simplified_losses=\{'loss_kl': 'preds_T'"):
        build(*parts)
    step(build(*parts, simplified_losses=dict(loss_kl='preds_T')))


def test_a_lam_that_cannot_learn_is_said_once():
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc'))
    model = build(*parts)
    with pytest.warns(UserWarning, match='λ cannot learn from the only sample'):
        step(model, size=1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        step(model, size=1)
        step(build(*parts), size=2)


@MODELS.register_module()
class DetachedSimplifier(torch.nn.Module):
    """Its own output does not depend on its parameter."""

    def __init__(self, num_classes, tau):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.tau = tau

    def forward(self, logits):
        """Simplifies."""
        return logits * self.weight.detach()


def test_a_simplifier_that_is_detached_is_said_to_be():
    with pytest.warns(UserWarning, match='DetachedSimplifier cannot learn'):
        build(
            dict(fc=FC),
            dict(loss_own=dict(OWN, tau=1)),
            dict(loss_own=records('fc')),
            simplifier=dict(type='DetachedSimplifier'),
            simplified_losses=dict(loss_own='preds_T'),
        )


@MODELS.register_module()
class WritingSimplifier(DetachedSimplifier):
    """Spares a copy of the logits."""

    def forward(self, logits):
        """Simplifies in place."""
        return logits.mul_(self.weight)


def test_a_simplifier_that_writes_into_the_teachers_logits_is_refused():
    parts = dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc'))
    with pytest.raises(ValueError, match=r'WritingSimplifier.*does not write into its input'):
        build(*parts, simplifier=dict(type='WritingSimplifier'))


@pytest.mark.parametrize('value', [-1e4, torch.finfo(torch.float32).min])
def test_a_mask_that_half_precision_makes_infinite_is_told_another(value):
    model = build(dict(fc=FC), dict(loss_kl=KL), dict(loss_kl=records('fc')))
    model.teacher.head.fc.bias.data[3] = value
    is_finite = value > torch.finfo(torch.float16).min
    refused = contextlib.nullcontext() if is_finite else pytest.raises(ValueError, match='as -1e4')
    with refused, torch.autocast('cpu', dtype=torch.float16):
        assert model(*batch(4), mode='loss')['distill.loss_kl'].isfinite()


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
    with pytest.raises(ValueError, match=r'simplifier\.num_classes=None, expected a number: the '):
        build(*parts)
    model = build(*parts, simplifier=dict(SKD['simplifier'], num_classes=6))
    assert model.distiller.simplifier.num_classes == 6


def test_a_head_is_the_nearest_parent_that_has_classes():
    model = nn.Module()
    model.head = nn.Module()
    model.head.num_classes = 4
    model.head.layers = nn.Sequential(nn.Linear(2, 4))
    assert get_head(model, 'head.layers.0') is model.head
    assert get_head(model, 'nothing.of.it') is model

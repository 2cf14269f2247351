"""All levels of a pyramid are distilled by their locations, and levels that differ are named."""

import re
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import nn

from .dense_models import (
    CLASSES,
    FEATURES,
    SKD,
    Detector,
    RetinaHead,
    build,
    logits,
    of_all_levels,
    step,
)


def test_levels_of_a_method_are_those_of_its_module():
    """Of a method alone it cannot be told that it gives logits; the sigmoid is the head's."""
    distiller = of_all_levels(dict(type='ChannelWiseDivergence'))
    found = {}
    for source in ('bbox_head.retina_cls', f'{RetinaHead.__module__}.RetinaHead.forward_single'):
        kind = 'ModuleOutputs' if source[0] == 'b' else 'MethodOutputs'
        recorder = dict(cls=dict(type=kind, source=source))
        distiller.update(student_recorders=recorder, teacher_recorders=recorder)
        torch.manual_seed(0)
        model = build(distiller=distiller)
        assert model.distiller.simplifier.softening == 'scale'
        found[kind] = step(model)['distill.loss_cls']
    torch.testing.assert_close(*found.values())


class Levels(Detector):
    """A pyramid of some levels, whose first has some stride."""

    def __init__(self, levels=2, stride=1, calls=1):
        super().__init__()
        self.levels, self.stride, self.calls = levels, stride, calls

    def forward(self, inputs, data_samples=None, mode='loss'):
        sizes = [self.stride * 2**i for i in range(self.levels)] * self.calls
        scores = self.bbox_head([self.neck(F.avg_pool2d(inputs, size)) for size in sizes])
        return dict(loss=sum(level.square().mean() for level in scores))


@pytest.mark.parametrize(
    ('options', 'sizes'),
    [
        (dict(levels=1), [8]),
        (dict(levels=3), [8, 4, 2]),
        (dict(calls=2), [8, 4, 8, 4]),
        (dict(stride=2), [4, 2]),
    ],
)
def test_levels_that_differ_are_named(options, sizes):
    features = dict(FEATURES, **NO_FEATURES)
    shapes = dict(teacher=sizes, student=[8, 4])
    shapes = {side: [(6, CLASSES, size, size) for size in shapes[side]] for side in shapes}
    message = rf'loss_skd: shapes of the logits={re.escape(str(shapes))}, expected .* same levels'
    with pytest.raises(ValueError, match=message):
        step(build(teacher=Levels(**options), distiller=features))
    step(build(Levels(**options), Levels(**options), distiller=features))


@pytest.mark.parametrize('levels', [1, 3])
def test_a_head_with_a_module_for_each_level_is_refused(levels):
    """As those of SSD and YOLOX are: the logits of the other levels would not be distilled."""
    detectors = Levels(levels=levels), Levels(levels=levels)
    for detector in detectors:
        detector.bbox_head.prior_generator = SimpleNamespace(num_levels=2)
    message = rf'loss_skd: records of a step={levels}, expected 2, of one'
    with pytest.raises(ValueError, match=message):
        step(build(*detectors))
    for detector in detectors:
        detector.levels = 2
    step(build(*detectors))


NO_FEATURES = dict(distill_losses={}, loss_forward_mappings={})


def test_a_loss_of_ones_own_is_averaged_over_the_levels():
    """By their locations, of which there are 64 and 16; it is tried in the first step."""
    names = dict(
        simplified_losses=dict(loss_cls='preds_T'), simplifier=dict(SKD['simplifier'], tau=1.0)
    )
    distiller = of_all_levels(dict(type='LargestDifference'))
    model = build(distiller=distiller, **names)
    images = torch.randn(2, 3, 8, 8)
    student, teacher = (logits(model, side, images) for side in ('student', 'teacher'))
    difference = (student - teacher).abs()
    expected = 0.8 * difference[..., :64].amax() + 0.2 * difference[..., 64:].amax()
    torch.testing.assert_close(model(images, mode='loss')['distill.loss_cls'], expected)
    # Its gradient is computed in the first step alone, and only where there is one.
    model.distiller.distill_losses['loss_cls'].loss.detach = True
    step(model)
    detached = of_all_levels(dict(type='LargestDifference', detach=True))
    model = build(distiller=detached, **names)
    with torch.no_grad():
        model(images, mode='loss')
    with pytest.raises(ValueError, match=r'of LargestDifference to its preds_T=.none'):
        step(model)


def test_entries_that_read_one_level_say_which():
    """By default the first is read, and the others are not distilled."""
    one = [Detector(RetinaHead(anchors=1)) for _ in range(2)]

    def distiller(**indices):
        distiller = of_all_levels(dict(type='LogSpaceBinaryKLDivergence'))
        for argument, record in distiller['loss_forward_mappings']['loss_cls'].items():
            record.pop('record_idx')
            if argument in indices:
                record['record_idx'] = indices[argument]
        return distiller

    for index in (1, -1, 'all'):
        indices = dict(preds_S=index, preds_T=index)
        step(build(*one, distiller=distiller(**indices)))
    with pytest.raises(ValueError, match=r"loss_cls: .*=\{'teacher': 2, .* record_idx='all' or a"):
        step(build(*one, distiller=distiller()))
    for wrong in (dict(preds_S=0, preds_T='all'), dict(preds_S='all')):
        with pytest.raises(ValueError, match=r"loss_cls: record_idx=.*, expected 'all' in both"):
            build(*one, distiller=distiller(**wrong))
    for wrong in (dict(preds_S='every', preds_T=1), dict(preds_S=1, preds_T=1.0)):
        with pytest.raises((ValueError, TypeError), match=r'loss_cls=.*record_idx.*, expected rec'):
            step(build(*one, distiller=distiller(**wrong)))
    with pytest.raises(ValueError, match=r'shapes of the logits=.*expected .*same record_idx'):
        step(build(*one, distiller=distiller(preds_S=0, preds_T=1)))
    # Fifteen numbers of a location are the five classes of three anchors.
    for wrong in ({}, dict(preds_S=1, preds_T=1)):
        with pytest.raises(ValueError, match=r"record_idx=.*, expected 'all', .* its 3 anchors"):
            build(distiller=distiller(**wrong))
    step(build(distiller=distiller(preds_S='all', preds_T='all')))


@MODELS.register_module()
class MaskedDifference(nn.Module):
    """A loss of the user's own that takes one record for all levels."""

    def forward(self, preds_S, preds_T, images):
        assert images.shape == (2, 3, 8, 8)
        return (preds_S - preds_T).square().mean()


def test_a_loss_may_have_a_record_beside_those_of_all_levels():
    distiller = of_all_levels(dict(type='MaskedDifference'))
    images = dict(images=dict(type='ModuleInputs', source='neck'))
    distiller['student_recorders'] = dict(distiller['student_recorders'], **images)
    entry = dict(recorder='images', from_student=True, data_idx=0)
    distiller['loss_forward_mappings']['loss_cls']['images'] = entry
    named = dict(simplified_losses=dict(loss_cls='preds_T'))
    step(build(distiller=distiller, simplifier=dict(SKD['simplifier'], tau=1.0), **named))


@MODELS.register_module()
class SameShape(nn.Module):
    """Squared distance of features as the neck has them."""

    def forward(self, preds_S, preds_T):
        assert preds_S.shape[:2] == preds_T.shape[:2] == (2, 4)
        return (preds_S - preds_T).square().mean()


def test_features_stay_features_where_a_connector_makes_logits_of_them():
    """Beside a loss of the same recorder whose connector ends in the classes."""
    fpn = dict(recorder='fpn', record_idx='all')
    make = dict(type='ConvModuleConnector', in_channel=4, out_channel=CLASSES)
    sides = dict(preds_S=True, preds_T=False)
    mappings = dict(
        loss_logits={k: dict(fpn, from_student=s, connector='make') for k, s in sides.items()},
        loss_feature={k: dict(fpn, from_student=s) for k, s in sides.items()},
    )
    losses = dict(loss_logits=dict(type='LogSpaceBinaryKLDivergence'))
    losses['loss_feature'] = dict(type='SameShape')
    parts = dict(distill_losses=losses, loss_forward_mappings=mappings)
    model = build(distiller=dict(FEATURES, **parts, connectors=dict(make=make)))
    assert list(model.distiller.simplified_losses) == ['loss_logits']
    step(model)


def test_features_of_all_levels_are_averaged_as_they_are():
    """Beside logits, whose anchors are pictures of their own."""
    entry = dict(recorder='fpn', record_idx='all')
    records = dict(
        s_feature=dict(entry, from_student=True), t_feature=dict(entry, from_student=False)
    )
    distiller = dict(FEATURES, distill_losses=dict(loss_l2=dict(type='L2Loss')))
    model = build(distiller=dict(distiller, loss_forward_mappings=dict(loss_l2=records)))
    images = torch.randn(2, 3, 8, 8)
    found = model(images, mode='loss')['distill.loss_l2']
    levels = [images, F.avg_pool2d(images, 2)]
    losses = [
        MODELS.build(dict(type='L2Loss'))(model.student.neck(x), model.teacher.neck(x))
        for x in levels
    ]
    torch.testing.assert_close(found, 0.8 * losses[0] + 0.2 * losses[1])
    first = dict(records, t_feature=dict(records['t_feature'], record_idx=0))
    with pytest.raises(ValueError, match=r"loss_l2: record_idx=.*, expected 'all' in both"):
        build(distiller=dict(distiller, loss_forward_mappings=dict(loss_l2=first)))
    # One more level of a model has nothing to be compared with.
    loss = model.distiller.distill_losses['loss_l2']
    with pytest.raises(ValueError, match='is longer'):
        loss(s_feature=[images], t_feature=levels)

"""Losses of the user's own on the logits of dense heads."""

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from .dense_losses import METHOD, NAMED, PairHead, own, with_anchors
from .dense_models import ANCHORS, CLASSES, Detector, RetinaHead, Segmentor, build, step


def test_a_loss_of_ones_own_is_compared_in_both_models_too():
    """Whatever its arguments are called."""
    with pytest.raises(ValueError, match=r'loss_own: anchors\.scales of the heads='):
        build(with_anchors(4.0), with_anchors(8.0), distiller=own(), **NAMED)
    for detector in (first := [Detector(), Detector()]):
        detector.bbox_head.scale_ranges = [(1, 64), (32, 128)]
    with pytest.raises(ValueError, match=r'loss_own: scale_ranges of the heads='):
        build(first[0], Detector(), distiller=own(), **NAMED)
    six = Detector(RetinaHead(CLASSES + 1))
    with pytest.raises(ValueError, match=r'num_classes=5, expected 6, as .*teacher_recorders\.cls'):
        build(Detector(), six, distiller=own(), **NAMED)
    first_level = own(record_idx=0)
    with pytest.raises(ValueError, match=r"record_idx=0, expected 'all', which tells its 3"):
        build(distiller=first_level, **NAMED)
    entries = own(source='decode_head.conv_seg', record_idx=0)
    with pytest.raises(
        ValueError, match=r"loss_own: shapes of the logits=.*'resize' in its target"
    ):
        step(build(Segmentor(), Segmentor(stride=2), distiller=entries, **NAMED))
    step(build(*first, distiller=own(), **NAMED))


def test_a_feature_beside_the_teachers_logits_is_not_compared():
    """A loss may take the logits of the teacher and a feature of the student."""

    @MODELS.register_module(name='LogitsOfAFeature', force=True)
    class LogitsOfAFeature(nn.Module):
        tau = 1.0

        def forward(self, pred, target):
            return (pred.mean() - target[0]).square().mean()

    entries = own('LogitsOfAFeature', record_idx=0)
    entries['student_recorders'] = dict(cls=dict(type='ModuleOutputs', source='neck'))
    heads = [RetinaHead(anchors=1) for _ in range(2)]
    step(build(*map(Detector, heads), distiller=entries, **NAMED))


def test_levels_of_a_loss_that_returns_a_list_are_averaged():
    """As mmengine adds a list to the objective."""
    found = []
    for as_list in (False, True):
        torch.manual_seed(0)
        model = build(distiller=own(dict(type='SquaredDistance', as_list=as_list)), **NAMED)
        found.append(step(model)['distill.loss_own'])
    torch.testing.assert_close(found[1], 2 * found[0])


@pytest.mark.parametrize('classes', [4, CLASSES])
def test_a_label_that_is_soft_may_be_logits(classes):
    """Of four classes, the batch on which the loss is tried is as large as they are many."""
    entries = own('SoftLabelDistance', 'soft_label')
    models = [Detector(RetinaHead(classes)) for _ in range(2)]
    line = r"simplified_losses=dict\(loss_own='soft_label'\), or a logit_loss to add"
    with pytest.raises(ValueError, match=line):
        build(*models, distiller=entries)
    named = dict(simplified_losses=dict(loss_own='soft_label'))
    model = build(*models, distiller=entries, **named)
    assert model.distiller.simplifier.num_classes == classes
    step(model)


@MODELS.register_module()
class Beside(nn.Module):
    """A loss that takes records of one or both models beside the logits."""

    tau = 1.0

    def forward(self, pred, target, feature=None, boxes=None, gt_labels=None):
        self.shapes = [tuple(x.shape) for x in (feature, boxes, gt_labels) if x is not None]
        return (pred - target).square().mean()


def test_a_loss_that_is_tried_keeps_its_state():
    loss = build(distiller=own('Beside'), **NAMED).distiller.distill_losses['loss_own'].loss
    assert not hasattr(loss, 'shapes')


MAP = (2, 4, 8, 8)


@pytest.mark.parametrize('side', ['student', 'teacher'])
@pytest.mark.parametrize('by', ['module', 'method'])
def test_features_beside_the_logits_of_all_levels_stay_as_they_are(side, by):
    """Of either model, and however they are recorded."""
    module = dict(type='ModuleOutputs', source='neck')
    method = dict(type='MethodOutputs', source='torch.nn.Conv2d._conv_forward')
    entries = own('Beside')
    feature = dict(feature=module if by == 'module' else method)
    entries[f'{side}_recorders'] = dict(entries[f'{side}_recorders'], **feature)
    entry = dict(recorder='feature', from_student=side == 'student')
    entries['loss_forward_mappings']['loss_own']['feature'] = entry
    model = build(distiller=entries, **NAMED)
    step(model)
    assert model.distiller.distill_losses['loss_own'].loss.shapes == [MAP]


def test_labels_and_boxes_of_all_levels_stay_as_they_are():
    """In whatever order, and beside logits of the same recorder."""
    entries = own('Beside', source=METHOD, data_idx=0)
    mapping = entries['loss_forward_mappings']['loss_own']
    labels, boxes = dict(mapping['pred'], data_idx=2), dict(mapping['target'], data_idx=1)
    mapping = dict(gt_labels=labels, boxes=boxes, **mapping)
    entries['loss_forward_mappings'] = dict(loss_own=mapping)
    models = [Detector(PairHead(4)) for _ in range(2)]
    model = build(*models, distiller=entries, **NAMED)
    step(model)
    loss = model.distiller.distill_losses['loss_own'].loss
    assert loss.shapes == [(2, 4 * ANCHORS, 4, 4), (2,)]


def test_of_several_records_of_the_student_the_logits_are_compared():
    entries = own('Beside')
    feature = dict(feature=dict(type='ModuleOutputs', source='neck'))
    entries['student_recorders'] = dict(entries['student_recorders'], **feature)
    mapping = entries['loss_forward_mappings']['loss_own']
    mapping['feature'] = dict(recorder='feature', from_student=True)
    with pytest.raises(ValueError, match=r'loss_own: anchors\.scales of the heads='):
        build(with_anchors(4.0), with_anchors(8.0), distiller=entries, **NAMED)
    del mapping['pred']['record_idx']
    models = [Detector(RetinaHead(anchors=1)) for _ in range(2)]
    with pytest.raises(ValueError, match=r"loss_own: record_idx=.*, expected 'all' in both"):
        build(*models, distiller=entries, **NAMED)


def test_one_of_the_names_of_mmrazor_is_enough():
    """The names of the arguments of a loss of one's own say nothing."""

    @MODELS.register_module(name='MixedNames', force=True)
    class MixedNames(nn.Module):
        tau = 1.0

        def forward(self, pred, preds_T):
            return (pred - preds_T).square().mean()

    entries, named = own('MixedNames', 'preds_T'), dict(simplified_losses=dict(loss_own='preds_T'))
    with pytest.raises(ValueError, match=r'loss_own: anchors\.scales of the heads='):
        build(with_anchors(4.0), with_anchors(8.0), distiller=entries, **named)
    step(build(distiller=entries, **named))


def test_another_method_of_the_head_is_not_paired_with_that_of_the_logits():
    """A feature of the student that has as many channels as it likes."""
    entries = own('Beside', source=METHOD, data_idx=0)
    tower = dict(type='MethodOutputs', source=METHOD.replace('_pair', '_tower'))
    entries['student_recorders'] = dict(tower=tower)
    entries['distill_losses'] = dict(loss_own=dict(type='LogitsAlone'))
    entries['loss_forward_mappings']['loss_own']['pred'] = dict(
        recorder='tower', from_student=True, record_idx='all', data_idx=0
    )
    model = build(*(Detector(PairHead()) for _ in range(2)), distiller=entries, **NAMED)
    assert list(model.distiller.logit_entries['loss_own']) == ['teacher']
    step(model)


@MODELS.register_module()
class LogitsAlone(nn.Module):
    """A loss of a feature of any shape."""

    tau = 1.0

    def forward(self, pred, target):
        assert pred.shape[:2] == (2, 4)
        return (pred.mean() - target).square().mean()


def test_numbers_of_all_levels_are_averaged():
    """Beside SKD's loss, as those of the centres of boxes are."""
    entries = own('SquaredDistance', source=METHOD, data_idx=2)
    models = [Detector(PairHead()) for _ in range(2)]
    skd = dict(logit_loss=dict(type='LogSpaceBinaryKLDivergence'))
    model = build(*models, distiller=entries, **skd)
    assert list(model.distiller.simplified_losses) == ['loss_skd']
    step(model)

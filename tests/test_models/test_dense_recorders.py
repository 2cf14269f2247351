"""Logits of dense heads that are recorded by methods, and as inputs of losses."""

import copy

import pytest
import torch
from torch import nn

from .dense_losses import METHOD, NAMED, PairHead, own
from .dense_models import (
    ANCHORS,
    CLASSES,
    SKD,
    Detector,
    RPNHead,
    Segmentor,
    build,
    step,
)


def test_a_method_gives_what_the_layer_of_its_head_gives():
    models = [Detector(PairHead()) for _ in range(2)]
    losses = {}
    for source, entry in ((METHOD, dict(data_idx=0)), ('bbox_head.retina_cls', {})):
        torch.manual_seed(0)
        model = build(*copy.deepcopy(models), distiller=own(source=source, **entry), **NAMED)
        assert model.distiller.simplifier.num_classes == CLASSES
        losses[source] = step(model)['distill.loss_own']
    torch.testing.assert_close(*losses.values())
    with pytest.raises(ValueError, match=r"forward_pair: record_idx=1, expected 'all'"):
        build(*models, distiller=own(source=METHOD, data_idx=0, record_idx=1), **NAMED)
    # Anchors of one class stand for classes.
    rpn = f'{RPNHead.__module__}.RPNHead.forward_single'
    model = build(Detector(RPNHead()), Detector(RPNHead()), distiller=own(source=rpn), **NAMED)
    assert model.distiller.simplifier.num_classes == ANCHORS
    step(model)


def test_the_first_of_several_levels_is_not_taken_for_all():
    """Where a head of one anchor returns scores and boxes, too."""
    models = [Detector(PairHead(anchors=1)) for _ in range(2)]
    entries = own(source=METHOD, data_idx=0)
    for entry in entries['loss_forward_mappings']['loss_own'].values():
        del entry['record_idx']
    with pytest.raises(ValueError, match=r"loss_own: records of a step=.*record_idx='all'"):
        step(build(*models, distiller=entries, **NAMED))


class Proposals(nn.Module):
    """A head of proposals, as ``BBoxHead``."""

    def __init__(self):
        super().__init__()
        self.num_classes = CLASSES
        self.fc_cls = nn.Linear(4, CLASSES + 1)

    def forward(self, boxes):
        return self.fc_cls(boxes)


def test_a_method_of_a_head_of_proposals_is_refused():
    models = Detector(), Detector()
    for model in models:
        model.roi_head = nn.ModuleDict({'bbox_head': Proposals()})
    entries = own(source=f'{__name__}.Proposals.forward', record_idx=0)
    simplifier = dict(SKD['simplifier'], num_classes=CLASSES + 1)
    with pytest.raises(ValueError, match=r"source='.*Proposals\.forward', expected .* proposals"):
        build(*models, distiller=entries, simplifier=simplifier, **NAMED)


def test_inputs_of_a_loss_of_a_detector_are_refused():
    """Its rows, of all images, would attend to each other; those of DETR are of queries."""
    for model in (models := [Detector(), Detector()]):
        model.bbox_head.loss_cls = nn.Identity()
    loss_inputs = dict(cls=dict(type='ModuleInputs', source='bbox_head.loss_cls'))
    entries = own(data_idx=0, record_idx=0)
    entries.update(student_recorders=loss_inputs, teacher_recorders=loss_inputs)
    with pytest.raises(ValueError, match=r"source='bbox_head\.loss_cls', expected .* all images"):
        build(*models, distiller=entries, **NAMED)
    # A segmentor's are maps, whatever its head ends in.
    for model in (models := [Segmentor(), Segmentor()]):
        model.decode_head.loss_decode = nn.Identity()
        model.decode_head.last = nn.Linear(2, 2)
    maps = dict(cls=dict(type='ModuleInputs', source='decode_head.loss_decode'))
    entries.update(student_recorders=maps, teacher_recorders=maps)
    named = dict(NAMED, simplifier=dict(SKD['simplifier'], num_classes=CLASSES))
    assert build(*models, distiller=entries, **named).distiller.simplifier


def test_an_output_that_is_not_there_is_named():
    models = [Detector(PairHead()) for _ in range(2)]
    entries = own(source=METHOD, data_idx=7)
    with pytest.raises(ValueError, match=r'loss_forward_mappings\.loss_own=.*data_idx'):
        step(build(*models, distiller=entries, **NAMED))
    several = own(source=METHOD)
    with pytest.raises(ValueError, match=r"tuple'>}, expected tensors: data_idx in the mapping"):
        step(build(*models, distiller=several, **NAMED))

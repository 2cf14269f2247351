"""Losses, recorders and connectors of the user's own on the logits of dense heads."""

import copy
import re
import warnings
from types import SimpleNamespace

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from .dense_models import (
    ANCHORS,
    CLASSES,
    NOTHING,
    SKD,
    BaseDetector,
    Detector,
    RetinaHead,
    RPNHead,
    Segmentor,
    build,
    cwd,
    step,
)


@MODELS.register_module()
class SquaredDistance(nn.Module):
    """A loss whose arguments are called as in mmdetection."""

    def __init__(self, as_list=False):
        super().__init__()
        self.tau, self.as_list = 1.0, as_list

    def forward(self, pred, target):
        loss = (pred - target).square().mean()
        return [loss, loss] if self.as_list else loss


@MODELS.register_module()
class SoftLabelDistance(nn.Module):
    """A loss that calls the teacher's logits a label, as ``KnowledgeDistillationKLDivLoss``."""

    tau = 1.0

    def forward(self, pred, soft_label):
        return (pred - soft_label).square().mean()


def own(loss='SquaredDistance', argument='target', source='bbox_head.retina_cls', **entry):
    """A loss of all levels; the entry is added to both models'."""
    kind = 'ModuleOutputs' if source.startswith(('bbox', 'decode')) else 'MethodOutputs'
    cls = dict(cls=dict(type=kind, source=source))
    entry = dict(dict(recorder='cls', record_idx='all'), **entry)
    records = {'pred': dict(entry, from_student=True), argument: dict(entry, from_student=False)}
    return dict(
        type='ConfigurableDistiller',
        student_recorders=cls,
        teacher_recorders=cls,
        distill_losses=dict(loss_own=loss if isinstance(loss, dict) else dict(type=loss)),
        loss_forward_mappings=dict(loss_own=records),
    )


NAMED = dict(simplified_losses=dict(loss_own='target'))


def with_anchors(scale, **settings):
    detector = Detector()
    settings = dict(dict(num_levels=2, scales=[scale]), **settings)
    detector.bbox_head.prior_generator = SimpleNamespace(**settings)
    return detector


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


class PairHead(RetinaHead):
    """Returns scores and boxes of a level, as the heads of mmdetection do."""

    def forward(self, levels):
        return [self.forward_pair(level)[0] for level in levels]

    def forward_pair(self, level):
        return self.retina_cls(level), self.reg(level)


METHOD = f'{__name__}.PairHead.forward_pair'


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


@pytest.mark.parametrize('side', ['pred', 'target'])
def test_a_connector_may_change_the_number_of_classes_of_anchors(side):
    """Of all levels, where the width is a multiple of either number."""
    student, teacher = Detector(), Detector(RetinaHead(CLASSES + 1))
    own_classes, classes = (CLASSES, CLASSES + 1) if side == 'pred' else (CLASSES + 1, CLASSES)
    change = dict(
        type='ConvModuleConnector', in_channel=ANCHORS * own_classes, out_channel=ANCHORS * classes
    )
    entries = dict(own(), connectors=dict(change=change))
    entries['loss_forward_mappings']['loss_own'][side]['connector'] = 'change'
    model = build(student, teacher, distiller=entries, **NAMED)
    assert model.distiller.simplifier.num_classes == classes
    step(model)


def test_logits_behind_a_connector_are_found():
    """Those of anchors are a multiple of the classes."""
    width = ANCHORS * CLASSES
    change = dict(type='ConvModuleConnector', in_channel=width, out_channel=width)
    entries = own(dict(type='LogSpaceBinaryKLDivergence'))
    records = entries['loss_forward_mappings']['loss_own']
    records = dict(preds_S=records['pred'], preds_T=dict(records['target'], connector='change'))
    entries['loss_forward_mappings'] = dict(loss_own=records)
    model = build(distiller=dict(entries, connectors=dict(change=change)))
    assert model.distiller.simplified_losses == dict(loss_own='preds_T')
    step(model)


def test_squares_of_resized_logits_are_simplified_too():
    """The connector is the one that the message for KL names, for L2 as well."""
    entries = cwd()
    entries['distill_losses'] = dict(loss_cwd=dict(type='L2Loss'))
    names = dict(preds_S='s_feature', preds_T='t_feature')
    records = entries['loss_forward_mappings']['loss_cwd']
    records = {names[key]: entry for key, entry in records.items()}
    entries['loss_forward_mappings'] = dict(loss_cwd=records)
    models = Segmentor(), Segmentor(stride=2)
    with pytest.raises(ValueError, match=r'connector=.resize. in its t_feature') as caught:
        step(build(*models, distiller=entries))
    (connectors,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    records['t_feature']['connector'] = 'resize'
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model = build(*models, distiller=dict(entries, connectors=eval(connectors)))
    assert model.distiller.simplified_losses == dict(loss_cwd='t_feature')
    step(model)


def test_a_connector_that_does_not_resize_is_joined_by_one_that_does():
    change = dict(change=dict(type='ConvModuleConnector', in_channel=CLASSES, out_channel=CLASSES))
    models, entry = (Segmentor(), Segmentor(stride=2)), dict(connector='change')
    message = r"preds_T; an entry takes one connector, or a list: that of 'change' and this one"
    with pytest.raises(ValueError, match=message) as caught:
        step(build(*models, distiller=cwd(change, **entry)))
    (told,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    both = dict(change=[change['change'], eval(told)['resize']])
    step(build(*models, distiller=cwd(both, **entry)))


def test_the_several_losses_of_a_segmentor_take_a_softmax_where_one_does():
    """DiceLoss has a sigmoid by default."""
    sigmoid, softmax = nn.Identity(), nn.CrossEntropyLoss()
    sigmoid.use_sigmoid, softmax.use_sigmoid = True, False
    for model in (models := [Segmentor(), Segmentor()]):
        model.decode_head.loss_decode = nn.ModuleList([sigmoid, softmax])
    model = build(*models, distiller=NOTHING)
    assert model.distiller.simplifier.softening == 'log_softmax'
    assert type(model.distiller.distill_losses['loss_skd']).__name__ == 'ChannelWiseDivergence'
    step(build(Segmentor(), models[1], distiller=NOTHING))


class Anchor3DHead(RetinaHead):
    """Of mmdetection3d: its ``cls_out_channels`` are those of all anchors."""

    name = 'conv_cls'

    def __init__(self):
        super().__init__()
        self.cls_out_channels = ANCHORS * CLASSES


class IterativeDecodeHead(nn.Module):
    """Of K-Net: the first of its maps is rough, and no layer computes the last."""

    def __init__(self):
        super().__init__()
        self.kernel_generate_head = Segmentor().decode_head


def test_heads_with_classes_in_another_place_are_known():
    model = build(Detector(Anchor3DHead()), Detector(Anchor3DHead()))
    assert model.distiller.simplifier.num_classes == CLASSES
    step(model)
    for model in (models := [Segmentor(), Segmentor()]):
        model.decode_head = IterativeDecodeHead()
    for name in (None, 'decode_head.kernel_generate_head.conv_seg'):
        with pytest.raises(ValueError, match=r'none of whose layers is known .* keep type='):
            build(*models, distiller=NOTHING, logits_module=name)


def test_a_head_of_the_whole_image_among_those_of_proposals_is_distilled():
    """As the semantic head of HTC."""
    for model in (models := [Segmentor(), Segmentor()]):
        head = model.decode_head
        del model.decode_head
        model.roi_head = nn.ModuleDict({'semantic_head': head})
        vars(model)['decode_head'] = head  # Under one name alone.
    step(build(*models, distiller=cwd(source='roi_head.semantic_head.conv_seg')))


def test_one_of_several_modules_is_no_hint():
    """As those of YOLOX and CenterPoint, one for each level or task."""

    class Tower(BaseDetector):
        def __init__(self):
            super().__init__()
            self.num_classes = CLASSES
            self.scores = nn.ModuleList([nn.Conv2d(4, CLASSES, 1) for _ in range(3)])
            self.boxes = nn.Conv2d(4, 4, 1)

        def forward(self, inputs, data_samples=None, mode='loss'):
            return {}

    with pytest.raises(ValueError, match=r'teacher Tower, none of whose layers is known'):
        build(Tower(), Tower(), distiller=NOTHING)


class Beside(nn.Module):
    """A loss that takes records of one or both models beside the logits."""

    tau = 1.0

    def forward(self, pred, target, feature=None, boxes=None, gt_labels=None):
        self.shapes = [tuple(x.shape) for x in (feature, boxes, gt_labels) if x is not None]
        return (pred - target).square().mean()


MODELS.register_module(module=Beside)
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
    boxes = {key: dict(entry, data_idx=1) for key, entry in mapping.items()}
    mapping = dict(gt_labels=boxes['pred'], boxes=boxes['target'], **mapping)
    entries['loss_forward_mappings'] = dict(loss_own=mapping)
    models = [Detector(PairHead(4)) for _ in range(2)]
    model = build(*models, distiller=entries, **NAMED)
    step(model)
    loss = model.distiller.distill_losses['loss_own'].loss
    assert loss.shapes == 2 * [(2, 4 * ANCHORS, 4, 4)]


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
    with pytest.raises(ValueError, match=r"loss_own: record_idx=.* an index, or 'all', in both"):
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


def test_an_output_that_is_not_there_is_named():
    models = [Detector(PairHead()) for _ in range(2)]
    entries = own(source=METHOD, data_idx=7)
    with pytest.raises(ValueError, match=r'loss_forward_mappings\.loss_own=.*data_idx'):
        step(build(*models, distiller=entries, **NAMED))
    several = own(source=METHOD)
    with pytest.raises(ValueError, match=r"tuple'>}, expected tensors: data_idx in the mapping"):
        step(build(*models, distiller=several, **NAMED))


def test_squares_of_probabilities_are_left_as_they_are():
    """They are softened by no division."""
    softmax = dict(type='TorchFunctionalConnector', function_name='softmax', func_args=dict(dim=1))
    entries = cwd(dict(softmax=softmax))
    names = dict(preds_S='s_feature', preds_T='t_feature')
    records = entries['loss_forward_mappings']['loss_cwd']
    records = {names[key]: dict(entry, connector='softmax') for key, entry in records.items()}
    entries.update(
        distill_losses=dict(loss_cwd=dict(type='L2Loss')),
        loss_forward_mappings=dict(loss_cwd=records),
    )
    with pytest.warns(UserWarning, match=r"\['loss_cwd'\] may read the logits of the teacher"):
        model = build(Segmentor(), Segmentor(), distiller=entries)
    assert list(model.distiller.simplified_losses) == ['loss_skd']


def test_classes_that_a_connector_makes_of_features_are_not_anchors():
    """Of as many classes as there are anchors."""
    make = dict(type='ConvModuleConnector', in_channel=4, out_channel=ANCHORS)
    entries = dict(own(source='neck', record_idx=0), connectors=dict(make=make))
    recorder = dict(cls=dict(type='ModuleOutputs', source='neck'))
    entries.update(student_recorders=recorder, teacher_recorders=recorder)
    for entry in entries['loss_forward_mappings']['loss_own'].values():
        entry.update(connector='make', record_idx='all')
    models = [Detector(RetinaHead(ANCHORS)) for _ in range(2)]
    model = build(*models, distiller=entries, **NAMED)
    assert model.distiller.simplifier.num_classes == ANCHORS
    step(model)


def test_anchors_that_each_model_predicts_are_refused():
    class GuidedAnchorHead(RetinaHead):
        """As GARetinaHead is."""

    models = [Detector(GuidedAnchorHead()) for _ in range(2)]
    with pytest.raises(ValueError, match=r'none of whose layers is known'):
        build(*models)

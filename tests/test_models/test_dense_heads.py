"""Heads of detectors: levels, anchors, independent classes, proposals.

mmdetection needs the operators of mmcv, so these are stand-ins with the names and
shapes of its modules; ``-m dense`` runs the same on mmdetection itself.
"""

import copy
import re
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor.models import AttentionSimplifierConnector, LogSpaceBinaryKLDivergence
from skd_mmrazor.models.distillers.logits.modules import find_logits_modules

CLASSES, ANCHORS = 5, 3


class AnchorHead(nn.Module):
    """Calls one convolution for each level."""

    name = 'conv_cls'

    def __init__(self, classes=CLASSES, anchors=ANCHORS, use_sigmoid_cls=True):
        super().__init__()
        self.num_classes = classes
        self.use_sigmoid_cls = use_sigmoid_cls
        self.cls_out_channels = classes if use_sigmoid_cls else classes + 1
        self.add_module(self.name, nn.Conv2d(4, anchors * self.cls_out_channels, 3, padding=1))
        self.reg = nn.Conv2d(4, anchors * 4, 3, padding=1)

    def forward(self, levels):
        return [self.forward_single(level) for level in levels]

    def forward_single(self, level):
        return getattr(self, self.name)(level)


class RetinaHead(AnchorHead):
    name = 'retina_cls'


class RPNHead(AnchorHead):
    name = 'rpn_cls'

    def __init__(self):
        super().__init__(classes=1)


class BaseDetector(BaseModel):
    """As all detectors of mmdetection are."""


class Detector(BaseDetector):
    """A pyramid of two levels, a dense head, and a head of proposals."""

    def __init__(self, head=None, runs_head=True):
        super().__init__()
        self.neck = nn.Conv2d(3, 4, 3, padding=1)
        self.bbox_head = head or RetinaHead()
        self.roi_head = nn.ModuleDict({'fc_cls': nn.Linear(4, CLASSES + 1)})
        self.roi_head.num_classes = CLASSES
        self.runs_head = runs_head

    def forward(self, inputs, data_samples=None, mode='loss'):
        levels = [self.neck(inputs), self.neck(F.avg_pool2d(inputs, 2))]
        scores = self.bbox_head(levels) if self.runs_head else levels
        self.roi_head['fc_cls'](levels[0].mean(dim=(2, 3)))
        return dict(loss=sum(level.square().mean() for level in scores))


NECK = dict(type='ModuleOutputs', source='neck')
FEATURES = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(fpn=NECK),
    teacher_recorders=dict(fpn=NECK),
    distill_losses=dict(loss_pkd=dict(type='PKDLoss')),
    loss_forward_mappings=dict(
        loss_pkd=dict(
            preds_S=dict(recorder='fpn', from_student=True),
            preds_T=dict(recorder='fpn', from_student=False),
        )
    ),
)
SKD = dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))


def build(student=None, teacher=None, distiller=FEATURES, **arguments):
    cfg = dict(copy.deepcopy(distiller), **copy.deepcopy(dict(SKD, **arguments)))
    return MODELS.build(
        dict(
            _scope_='mmrazor',
            type='SingleTeacherDistill',
            architecture=student or Detector(),
            teacher=teacher or Detector(),
            distiller=cfg,
        )
    )


def step(model, size=8):
    losses = model(torch.randn(2, 3, size, size), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    return losses


def logits(model, side, images):
    """The logits of all levels as a user would compute them: (A * N, C, locations)."""
    levels = [getattr(model, side).neck(x) for x in (images, F.avg_pool2d(images, 2))]
    scores = getattr(model, side).bbox_head(levels)
    return torch.cat([s.reshape(-1, CLASSES, s.shape[2] * s.shape[3]) for s in scores], dim=2)


def test_a_detector_of_features_gains_a_binary_loss_of_all_levels():
    model = build().double()
    loss = model.distiller.distill_losses['loss_skd']
    assert isinstance(loss.loss, LogSpaceBinaryKLDivergence)
    simplifier = model.distiller.simplifier
    assert (simplifier.num_classes, simplifier.softening, simplifier.start_factor) == (
        *(CLASSES, 'scale', 1),
    )
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    losses = model(images, mode='loss')
    with torch.no_grad():
        student, teacher = (logits(model, side, images) for side in ('student', 'teacher'))
        p, q = teacher.sigmoid(), student.sigmoid()
        kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
        expected = kl.sum(dim=1).mean()
        entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum(dim=1).mean()
    # λ is 0 at the start: the teacher's own logits, to 1e-6.
    torch.testing.assert_close(losses['distill.loss_skd'], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        losses['distill.teacher_entropy'].double(), entropy, rtol=1e-5, atol=0
    )
    step(build())


def test_binary_divergence_has_true_gradients():
    loss = LogSpaceBinaryKLDivergence(tau=2.0, entropy_grad=1.0)
    student, teacher = (torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True) for _ in '12')
    assert torch.autograd.gradcheck(loss, (student, teacher))
    value = LogSpaceBinaryKLDivergence(tau=2.0)(student, teacher)
    torch.testing.assert_close(value, loss(student, teacher))
    student_only = torch.autograd.grad(loss(student, teacher), student)
    torch.testing.assert_close(torch.autograd.grad(value, student), student_only)


def test_what_is_kept_of_a_large_map_is_a_few_times_its_size():
    """Autograd keeps eighteen tensors of its size, which a detector has no memory for."""
    student, teacher = torch.randn(2, 3, 80, 22400).unbind()
    simplifier = AttentionSimplifierConnector(80, softening='scale', start_factor=1.0)
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    student.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = LogSpaceBinaryKLDivergence()(student, simplifier(teacher))
    assert sum(kept.values()) < 3.5 * student.numel()
    loss.backward()
    one_by_one = [simplifier(image[None]) for image in teacher]
    torch.testing.assert_close(simplifier(teacher), torch.cat(one_by_one))
    assert simplifier.lam_logit.grad.item() != 0


def test_a_head_of_one_class_distils_its_anchors():
    model = build(Detector(RPNHead()), Detector(RPNHead()))
    assert model.distiller.simplifier.num_classes == ANCHORS
    step(model)


def test_one_class_without_anchors_is_refused():
    heads = [RetinaHead(classes=1, anchors=1) for _ in range(2)]
    with pytest.raises(
        ValueError, match=r'loss_skd: num_classes=1, expected two .*ConfigurableDistiller'
    ):
        build(*map(Detector, heads))


@pytest.mark.parametrize(
    ('head', 'width'), [(RetinaHead(CLASSES + 1), 18), (RetinaHead(anchors=2), 10)]
)
def test_heads_that_differ_are_refused(head, width):
    message = rf'distiller\.logits_module=.* one width .*\(teacher {width}, student 15\)'
    with pytest.raises(ValueError, match=message):
        build(teacher=Detector(head))


def test_anchors_of_other_sizes_or_meaning_are_refused():
    """Though they are as many."""

    class Points(SimpleNamespace):
        """As those of FCOS."""

    class QualityFocalLoss(nn.Module):
        """As that of GFL, whose scores are overlaps; those of ATSS are probabilities."""

    def detector(scales=(8.0,), anchors=SimpleNamespace, loss=nn.BCELoss, offset=0.0, octave=None):
        detector = Detector()
        settings = dict(strides=[8, 16], scales=torch.tensor(scales), center_offset=offset)
        settings['octave_base_scale'] = octave
        detector.bbox_head.prior_generator = anchors(**settings)
        detector.bbox_head.loss_cls = loss()
        return detector

    message = r"loss_skd: anchors\.scales of the heads=\{'teacher': \[8\.0\], 'student': \[4\.0\]\}"
    with pytest.raises(ValueError, match=message + r'.*ConfigurableDistiller'):
        build(detector([4.0]), detector())
    others = dict(loss=QualityFocalLoss), dict(anchors=Points), dict(offset=0.5)
    for key, other in zip(('scores', 'type', 'center_offset'), others, strict=True):
        with pytest.raises(ValueError, match=rf'loss_skd: (anchors\.)?{key} of the heads='):
            build(detector(), detector(**other))
    # The objects of a level are those of another one in the other model.
    ranges = detector(), detector()
    for detector_, first in zip(ranges, (32, 64), strict=True):
        detector_.bbox_head.regress_ranges = ((-1, first), (first, 128))
    with pytest.raises(ValueError, match=r'loss_skd: regress_ranges of the heads='):
        build(*ranges)
    # Equal probabilities and anchors, said in another way.
    step(build(detector(), detector(loss=nn.MSELoss, octave=8)))


def test_a_background_is_no_class():
    """Five sigmoid classes are as many logits as four and a background."""
    heads = RetinaHead(CLASSES), RetinaHead(CLASSES - 1, use_sigmoid_cls=False)
    with pytest.raises(ValueError, match=r"num_classes of the heads=\{'teacher': 4, 'student': 5"):
        build(*map(Detector, heads))


def test_boxes_as_wide_as_the_classes_are_no_logits():
    """Four numbers of a box, and four classes."""
    box = dict(recorder='reg', record_idx='all')
    boxes = dict(reg=dict(type='ModuleOutputs', source='bbox_head.reg'))
    records = dict(s_feature=dict(box, from_student=True), t_feature=dict(box, from_student=False))
    distiller = dict(
        type='ConfigurableDistiller',
        student_recorders=boxes,
        teacher_recorders=boxes,
        distill_losses=dict(loss_box=dict(type='L2Loss')),
        loss_forward_mappings=dict(loss_box=records),
    )
    model = build(*(Detector(RetinaHead(4, anchors=1)) for _ in range(2)), distiller=distiller)
    assert list(model.distiller.simplified_losses) == ['loss_skd']
    step(model)
    # Where the head is not known, what is as wide as its classes is taken for logits.
    model = build(*(Detector(UnknownHead(4, anchors=1)) for _ in range(2)), distiller=distiller)
    assert list(model.distiller.simplified_losses) == ['loss_box']


class UnknownHead(AnchorHead):
    name = 'own_cls'


class BaseDecodeHead(nn.Module):
    def __init__(self, num_classes=CLASSES, out_channels=CLASSES, use_sigmoid=False):
        super().__init__()
        self.num_classes, self.out_channels = num_classes, out_channels
        self.conv_seg = nn.Conv2d(3, out_channels, 1)
        self.loss_decode = nn.CrossEntropyLoss()
        self.loss_decode.use_sigmoid = use_sigmoid


class Segmentor(BaseModel):
    """A map of some stride, or several of them."""

    def __init__(self, stride=1, calls=1, **head):
        super().__init__()
        self.decode_head = BaseDecodeHead(**head)
        self.stride, self.calls = stride, calls

    def forward(self, inputs, data_samples=None, mode='loss'):
        inputs = F.avg_pool2d(inputs, self.stride)
        return dict(loss=sum(self.decode_head.conv_seg(inputs).mean() for _ in range(self.calls)))


def cwd(connectors=None, source='decode_head.conv_seg', **entry):
    """CWD of the logits; the entry is added to the teacher's."""
    logits = dict(logits=dict(type='ModuleOutputs', source=source))
    records = {
        'preds_S': dict(recorder='logits', from_student=True, record_idx=0),
        'preds_T': dict(recorder='logits', from_student=False, **entry),
    }
    return dict(
        type='ConfigurableDistiller',
        student_recorders=logits,
        teacher_recorders=logits,
        connectors=connectors,
        distill_losses=dict(loss_cwd=dict(type='ChannelWiseDivergence')),
        loss_forward_mappings=dict(loss_cwd=records),
    )


@pytest.mark.parametrize(('student', 'teacher'), [(1, 2), (2, 1)])
def test_maps_of_different_strides_are_told_the_connector(student, teacher):
    models = Segmentor(student), Segmentor(teacher)
    with pytest.raises(ValueError, match=r'loss_cwd: shapes of the logits=.* preds_T') as caught:
        step(build(*models, distiller=cwd()))
    (connectors,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    # It does what it says it does.
    step(build(*models, distiller=cwd(eval(connectors), connector='resize')))
    with pytest.raises(ValueError, match=r'loss_skd: shapes .* into the config by another name'):
        step(build(*models, distiller=NOTHING))
    step(build(models[0], models[0], distiller=NOTHING))


def test_a_module_that_runs_more_often_in_one_model_is_named():
    models = Segmentor(), Segmentor(calls=2)
    message = r"loss_cwd: records of a step=\{'teacher': 2, 'student': 1\}.*record_idx"
    with pytest.raises(ValueError, match=message):
        step(build(*models, distiller=cwd()))
    step(build(*models, distiller=cwd(record_idx=1)))


def test_a_module_that_has_no_logits_is_named():
    """As that of the boxes, four numbers for each anchor."""
    with pytest.raises(ValueError, match=r'width of bbox_head\.reg=12, expected 5 or a multiple'):
        build(*(Detector(UnknownHead()) for _ in range(2)), logits_module='bbox_head.reg')
    for wrong in ('bbox_head.reg', 'bbox_head'):
        with pytest.raises(ValueError, match=r"logits may be of \['bbox_head\.retina_cls'\]"):
            build(logits_module=wrong)
    with pytest.raises(ValueError, match=r"logits_module='neck', expected the module of the log"):
        build(logits_module='neck')
    models = Segmentor(), Segmentor()
    for model in models:
        model.decode_head.bottleneck = nn.Conv2d(3, CLASSES, 1)
    with pytest.raises(ValueError, match=r"logits may be of \['decode_head\.conv_seg'\]"):
        build(*models, distiller=NOTHING, logits_module='decode_head.bottleneck')
    step(build(*models, distiller=NOTHING, logits_module='decode_head.conv_seg'))


NOTHING = dict(type='ConfigurableDistiller')


def test_a_sigmoid_of_a_segmentor_is_seen():
    models = [Segmentor(use_sigmoid=True) for _ in range(2)]
    model = build(*models, distiller=NOTHING)
    assert isinstance(model.distiller.distill_losses['loss_skd'], LogSpaceBinaryKLDivergence)
    assert model.distiller.simplifier.softening == 'scale'
    step(model)
    resize = dict(type='TorchFunctionalConnector', function_name='interpolate')
    resize = dict(resize=dict(resize, func_args=dict(size=(8, 8))))
    # A connector without layers changes nothing of what the logits are.
    for distiller in (NOTHING, cwd(resize, connector='resize')):
        with pytest.raises(ValueError, match=r"use_sigmoid of the heads=\{'teacher': True, 'stu"):
            build(Segmentor(), models[0], distiller=distiller)
    step(build(*models, distiller=cwd(resize, connector='resize')))
    entries = cwd(resize, connector='resize')
    del entries['loss_forward_mappings']['loss_cwd']['preds_S']['record_idx']
    several = Segmentor(calls=2), Segmentor(calls=1)
    with pytest.raises(ValueError, match=r"records of a step=\{'teacher': 1, 'student': 2\}"):
        step(build(*several, distiller=entries))
    one = [Segmentor(num_classes=2, out_channels=1, use_sigmoid=True) for _ in range(2)]
    with pytest.raises(ValueError, match=r'num_classes=1, expected two at least'):
        build(*one, distiller=NOTHING)


def test_logits_that_have_no_default_loss_need_one():
    """As those of points, which KL would sum up."""
    models = Segmentor(), Segmentor()
    for model in models:
        model.decode_head.conv_seg = nn.Conv1d(3, CLASSES, 1)
    with pytest.raises(ValueError, match=r'logit_loss=None, expected .* Conv1d'):
        build(*models, distiller=NOTHING)
    build(*models, distiller=NOTHING, logit_loss=dict(type='KLDivergence', reduction='mean'))


def test_a_loss_of_logits_by_other_arguments_is_added():
    for loss, argument in (('DISTLoss', 'logits_T'), ('KDSoftCELoss', 'preds_T')):
        model = build(logit_loss=dict(type=loss), distiller=NOTHING)
        assert model.distiller.simplified_losses == dict(loss_skd=argument)
    for other in ('DKDLoss', 'LargestDifference', 'PKDLoss'):
        with pytest.raises(ValueError, match=r'logit_loss=.*, expected a loss of mmrazor'):
            build(logit_loss=dict(type=other), distiller=NOTHING)


def test_levels_of_a_method_are_those_of_its_module():
    """Of a method alone it cannot be told that it gives logits; the sigmoid is the head's."""
    distiller = of_all_levels(dict(type='ChannelWiseDivergence'))
    found = {}
    for source in ('bbox_head.retina_cls', f'{__name__}.RetinaHead.forward_single'):
        kind = 'ModuleOutputs' if source[0] == 'b' else 'MethodOutputs'
        recorder = dict(cls=dict(type=kind, source=source))
        distiller.update(student_recorders=recorder, teacher_recorders=recorder)
        torch.manual_seed(0)
        model = build(distiller=distiller)
        assert model.distiller.simplifier.softening == 'scale'
        found[kind] = step(model)['distill.loss_cls']
    torch.testing.assert_close(*found.values())


def test_anchors_are_told_apart_behind_a_connector():
    channels = ANCHORS * CLASSES
    widen = dict(type='ConvModuleConnector', in_channel=channels, out_channel=channels)
    distiller = of_all_levels(dict(type='LogSpaceBinaryKLDivergence'))
    distiller['loss_forward_mappings']['loss_cls']['preds_S']['connector'] = 'widen'
    model = build(distiller=dict(distiller, connectors=dict(widen=widen)))
    assert model.distiller.simplifier.num_classes == CLASSES
    step(model)


def test_heads_of_several_tasks_have_lists_of_classes():
    """As that of CenterPoint."""
    detectors = Detector(), Detector()
    for detector in detectors:
        detector.pts_head = nn.Identity()
        detector.pts_head.num_classes = [1, 2]
    step(build(*detectors))


def test_a_head_that_is_not_known_is_told_its_modules():
    """And a head whose score is a product, as that of TOOD, has no logits to be found."""

    class OwnHead(RetinaHead):
        name = 'own_cls'

    class TOODHead(RetinaHead):
        """Of the base class, ``retina_cls`` is not looked for."""

    own = Detector(OwnHead()), Detector(OwnHead())
    with pytest.raises(ValueError, match=r"=None, expected .*\['bbox_head\.own_cls'\].*keep type="):
        build(*own)
    step(build(*own, logits_module='bbox_head.own_cls'))
    product = Detector(TOODHead()), Detector(TOODHead())
    for name in (None, 'bbox_head.retina_cls'):
        with pytest.raises(ValueError, match=r'none of whose layers is known.*keep type='):
            build(*product, logits_module=name)


def test_logits_of_proposals_are_refused():
    message = r"source='roi_head\.fc_cls', expected logits of locations"
    with pytest.raises(ValueError, match=message):
        build(logits_module='roi_head.fc_cls')
    with pytest.raises(ValueError, match=message):
        build(distiller=cwd(source='roi_head.fc_cls'))
    # As the queries of DETR.
    detectors = Detector(), Detector()
    for detector in detectors:
        detector.bbox_head.fc_cls = nn.Linear(4, CLASSES)
    with pytest.raises(ValueError, match=r"source='bbox_head\.fc_cls', expected .* queries"):
        build(*detectors, logits_module='bbox_head.fc_cls')


def test_a_teacher_whose_head_does_not_run_is_told_the_algorithm():
    model = build(teacher=Detector(runs_head=False))
    with pytest.raises(ValueError, match=r'FpnTeacherDistill does not run .*SingleTeacherDistill'):
        step(model)
    distiller = of_all_levels(dict(type='LogSpaceBinaryKLDivergence'))
    with pytest.raises(ValueError, match=r'FpnTeacherDistill does not run .*SingleTeacherDistill'):
        step(build(teacher=Detector(runs_head=False), distiller=distiller))
    step(build(distiller=distiller))


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
    ('options', 'message'),
    [
        (
            dict(levels=1),
            r"loss_skd: records of a step=\{'teacher': 1, 'student': 2\}.*same levels",
        ),
        (
            dict(levels=3),
            r"loss_skd: records of a step=\{'teacher': 3, 'student': 2\}.*same levels",
        ),
        (dict(calls=2), r"loss_skd: records of a step=\{'teacher': 4, 'student': 2\}.*same levels"),
        (dict(stride=2), r'loss_skd: shapes of the logits=.*4, 4.*8, 8.*the same strides'),
    ],
)
def test_levels_that_differ_are_named(options, message):
    features = dict(FEATURES, **NO_FEATURES)
    with pytest.raises(ValueError, match=message):
        step(build(teacher=Levels(**options), distiller=features))
    step(build(Levels(**options), Levels(**options), distiller=features))


def test_a_head_with_a_module_for_each_level_is_refused():
    """As those of SSD and YOLOX are: the logits of the other levels would not be distilled."""
    detectors = Levels(levels=1), Levels(levels=1)
    for detector in detectors:
        detector.bbox_head.prior_generator = SimpleNamespace(num_levels=2)
    with pytest.raises(ValueError, match=r'loss_skd: records of a step=1, expected 2, of one'):
        step(build(*detectors))
    for detector in detectors:
        detector.levels = 2
    step(build(*detectors))


NO_FEATURES = dict(distill_losses={}, loss_forward_mappings={})


def of_all_levels(loss):
    """A loss of the logits of all levels, by name."""
    record = dict(recorder='cls', record_idx='all')
    cls = dict(cls=dict(type='ModuleOutputs', source='bbox_head.retina_cls'))
    records = dict(
        preds_S=dict(record, from_student=True), preds_T=dict(record, from_student=False)
    )
    return dict(
        type='ConfigurableDistiller',
        student_recorders=cls,
        teacher_recorders=cls,
        distill_losses=dict(loss_cls=loss),
        loss_forward_mappings=dict(loss_cls=records),
    )


@MODELS.register_module()
class LargestDifference(nn.Module):
    """A loss of the user's own, which takes maps of many locations alone."""

    def __init__(self, detach=False):
        super().__init__()
        self.detach = detach

    def forward(self, preds_S, preds_T):
        assert preds_S.shape[2:].numel() > 8
        assert preds_S.shape[:2] == preds_T.shape[:2] == (2 * ANCHORS, CLASSES)
        return (preds_S - (preds_T.detach() if self.detach else preds_T)).abs().amax()


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
    detached = of_all_levels(dict(type='LargestDifference', detach=True))
    with pytest.raises(ValueError, match=r'of LargestDifference to its preds_T=.none'):
        step(build(distiller=detached, **names))


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
    mixed = dict(preds_S=0, preds_T='all'), dict(preds_S='all')
    for wrong in (*mixed, dict(preds_S='every'), dict(preds_T=1.0)):
        with pytest.raises(
            ValueError, match=r'loss_cls\.preds_.\.record_idx=.*, expected an index, or'
        ):
            build(*one, distiller=distiller(**wrong))
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
    # One more level of a model has nothing to be compared with.
    loss = model.distiller.distill_losses['loss_l2']
    with pytest.raises(ValueError, match='is longer'):
        loss(s_feature=[images], t_feature=levels)


def test_maps_in_channels_last_are_distilled():
    """As SegFormer's head gives them; mmrazor's CWD takes views."""
    models = [Segmentor().to(memory_format=torch.channels_last) for _ in range(2)]
    images = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    model = build(*models, distiller=cwd())
    plain = build(*models, distiller=cwd())
    last = model(images, mode='loss')['distill.loss_cwd']
    torch.testing.assert_close(
        last, plain(images.contiguous(), mode='loss')['distill.loss_cwd'], rtol=1e-4, atol=1e-6
    )


def test_a_softmax_over_independent_classes_is_said_once():
    kl = of_all_levels(dict(type='KLDivergence', tau=1, reduction='mean'))
    with pytest.warns(UserWarning, match=r'loss_cls: KLDivergence takes the softmax .*sigmoid'):
        model = build(distiller=kl)
    step(model)
    # Smaller logits would make objects likelier, beside whatever loss.
    simplifier = model.distiller.simplifier
    assert (simplifier.softening, simplifier.start_factor) == ('scale', 1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build(
            distiller=dict(
                kl, distill_losses=dict(loss_cls=dict(type='LogSpaceBinaryKLDivergence'))
            )
        )
        heads = [RetinaHead(CLASSES - 1, use_sigmoid_cls=False) for _ in range(2)]
        build(*map(Detector, heads), distiller=kl)


def test_an_auxiliary_head_is_left_alone():
    class FCNHead(BaseDecodeHead):
        """As any head of mmsegmentation."""

    model = nn.ModuleDict(dict(auxiliary_head=FCNHead(), decode_head=FCNHead()))
    assert find_logits_modules(model) == ['decode_head.conv_seg']
    # The last of a cascade is what a model predicts with, and needs no warning.
    cascade = nn.ModuleList([FCNHead(), FCNHead(), FCNHead()])
    model = nn.ModuleDict(dict(auxiliary_head=FCNHead(), decode_head=cascade))
    assert find_logits_modules(model) == ['decode_head.2.conv_seg']
    del cascade[2].conv_seg  # As that of PointRend, whose logits are of sampled points.
    assert find_logits_modules(model) == ['decode_head.1.conv_seg']
    two = nn.ModuleDict(dict(head1=FCNHead(), head2=FCNHead()))
    assert find_logits_modules(two) == ['head1.conv_seg', 'head2.conv_seg']

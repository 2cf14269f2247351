"""Heads of detectors: independent classes, anchors, a background, boxes."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from mmrazor.registry import MODELS
from torch import nn

from skd_mmrazor.models import AttentionSimplifierConnector, LogSpaceBinaryKLDivergence

from .dense_models import (
    ANCHORS,
    CLASSES,
    SKD,
    Detector,
    RetinaHead,
    RPNHead,
    UnknownHead,
    build,
    logits,
    of_all_levels,
    step,
)


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


def test_the_softening_of_independent_classes_is_a_default_of_our_simplifier():
    """Which a config may change; a simplifier of one's own has other settings."""

    @MODELS.register_module(name='OwnSimplifier', force=True)
    class OwnSimplifier(nn.Linear):
        def __init__(self, num_classes, tau):
            super().__init__(1, 1)
            self.tau = tau

        def forward(self, logits):
            return logits * self.weight

    given = dict(softening='log_softmax', start_factor=0.5)
    simplifier = build(simplifier=dict(SKD['simplifier'], **given)).distiller.simplifier
    assert (simplifier.softening, simplifier.start_factor) == ('log_softmax', 0.5)
    simplifier = build(simplifier=dict(type='OwnSimplifier')).distiller.simplifier
    assert not hasattr(simplifier, 'softening')


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


def test_anchors_are_told_apart_behind_a_connector():
    channels = ANCHORS * CLASSES
    widen = dict(type='ConvModuleConnector', in_channel=channels, out_channel=channels)
    distiller = of_all_levels(dict(type='LogSpaceBinaryKLDivergence'))
    distiller['loss_forward_mappings']['loss_cls']['preds_S']['connector'] = 'widen'
    model = build(distiller=dict(distiller, connectors=dict(widen=widen)))
    assert model.distiller.simplifier.num_classes == CLASSES
    step(model)


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

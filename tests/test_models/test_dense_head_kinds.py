"""Heads whose classes, losses or logits are not where those of others are."""

from types import SimpleNamespace

import pytest
from torch import nn

from .dense_models import (
    ANCHORS,
    CLASSES,
    NOTHING,
    BaseDetector,
    Detector,
    RetinaHead,
    Segmentor,
    build,
    cwd,
    step,
)


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


def test_anchors_that_each_model_predicts_are_refused():
    class GuidedAnchorHead(RetinaHead):
        """As GARetinaHead is."""

    models = [Detector(GuidedAnchorHead()) for _ in range(2)]
    with pytest.raises(ValueError, match=r'none of whose layers is known'):
        build(*models)


def test_both_kinds_of_anchors_of_a_head_are_compared():
    """SABL's are square for its classes, and approximate for its boxes."""

    def sabl(**scales):
        detector = Detector()
        for name, scale in dict(dict(square=4, approx=8), **scales).items():
            settings = SimpleNamespace(num_levels=2, scales=[scale])
            setattr(detector.bbox_head, f'{name}_anchor_generator', settings)
        return detector

    for name in ('square', 'approx'):
        message = rf'loss_skd: {name}_anchor_generator\.scales of the heads='
        with pytest.raises(ValueError, match=message):
            build(sabl(**{name: 2}), sabl())
    detector = sabl()
    detector.bbox_head.prior_generator = None
    step(build(detector, sabl()))


def test_one_of_several_modules_of_other_widths_is_no_hint():
    """Of SOLO's masks, one width is a multiple of the classes."""

    class Solo(BaseDetector):
        def __init__(self):
            super().__init__()
            self.num_classes = CLASSES
            self.masks = nn.ModuleList([nn.Conv2d(4, n * n, 1) for n in (4, 5, 6)])
            self.classes = nn.Conv2d(4, CLASSES, 1)

        def forward(self, inputs, data_samples=None, mode='loss'):
            return {}

    with pytest.raises(ValueError, match=r"whose logits may be of \['classes'\]"):
        build(Solo(), Solo(), distiller=NOTHING)

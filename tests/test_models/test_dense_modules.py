"""Which modules of a detector or a segmentor have the logits, and which are refused by name."""

import pytest
from torch import nn

from skd_mmrazor.models.distillers.logits.modules import LogitModel

from .dense_models import (
    CLASSES,
    NOTHING,
    BaseDecodeHead,
    Detector,
    RetinaHead,
    Segmentor,
    UnknownHead,
    build,
    cwd,
    of_all_levels,
    step,
)


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
        message = r'logit_loss=.*, expected the config of a loss of mmrazor'
        with pytest.raises((ValueError, TypeError), match=message):
            build(logit_loss=dict(type=other), distiller=NOTHING)


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


def test_an_auxiliary_head_is_left_alone():
    class FCNHead(BaseDecodeHead):
        """As any head of mmsegmentation."""

    model = nn.ModuleDict(dict(auxiliary_head=FCNHead(), decode_head=FCNHead()))
    assert LogitModel('student', model).known == ['decode_head.conv_seg']
    # The last of a cascade is what a model predicts with, and needs no warning.
    cascade = nn.ModuleList([FCNHead(), FCNHead(), FCNHead()])
    model = nn.ModuleDict(dict(auxiliary_head=FCNHead(), decode_head=cascade))
    assert LogitModel('student', model).known == ['decode_head.2.conv_seg']
    del cascade[2].conv_seg  # As that of PointRend, whose logits are of sampled points.
    assert LogitModel('student', model).known == ['decode_head.1.conv_seg']
    two = nn.ModuleDict(dict(head1=FCNHead(), head2=FCNHead()))
    assert LogitModel('student', two).known == ['head1.conv_seg', 'head2.conv_seg']

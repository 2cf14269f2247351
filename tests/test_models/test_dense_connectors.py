"""Connectors between the logits of dense heads and their losses."""

import re
import warnings

import pytest

from .dense_losses import NAMED, own
from .dense_models import ANCHORS, CLASSES, Detector, RetinaHead, Segmentor, build, cwd, step


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
    message = r'in its preds_T; where that has a connector, resize is a list'
    with pytest.raises(ValueError, match=message) as caught:
        step(build(*models, distiller=cwd(change, **entry)))
    (told,) = re.findall(r'connectors=(dict\(.*\)) and', str(caught.value))
    both = dict(change=[change['change'], eval(told)['resize']])
    step(build(*models, distiller=cwd(both, **entry)))


def test_a_module_before_a_connector_with_layers_may_run_more_often():
    change = dict(change=dict(type='ConvModuleConnector', in_channel=CLASSES, out_channel=CLASSES))
    step(build(Segmentor(), Segmentor(calls=2), distiller=cwd(change, connector='change')))


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


def test_a_connector_may_make_the_logits_of_all_anchors():
    """Of a feature of the student, within the head or before it."""
    width = ANCHORS * CLASSES
    make = dict(make=dict(type='ConvModuleConnector', in_channel=4, out_channel=width))
    entries = dict(own(), connectors=make)
    entries['student_recorders'] = dict(cls=dict(type='ModuleOutputs', source='neck'))
    entries['loss_forward_mappings']['loss_own']['pred']['connector'] = 'make'
    model = build(distiller=entries, **NAMED)
    assert model.distiller.simplifier.num_classes == CLASSES
    step(model)


def test_the_inputs_of_a_layer_may_become_logits():
    """Those of a loss may not: they are rows of all images."""
    make = dict(make=dict(type='ConvModuleConnector', in_channel=4, out_channel=CLASSES))
    inputs = dict(cls=dict(type='ModuleInputs', source='bbox_head.retina_cls'))
    entries = dict(own(data_idx=0), connectors=make)
    entries.update(student_recorders=inputs, teacher_recorders=inputs)
    for entry in entries['loss_forward_mappings']['loss_own'].values():
        entry['connector'] = 'make'
    model = build(distiller=entries, **NAMED)
    assert model.distiller.simplifier.num_classes == CLASSES
    step(model)

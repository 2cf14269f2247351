"""Bad input is refused by a message that names the key, the value and what was expected."""

import pytest
import torch
from mmrazor.registry import MODELS

from ..conftest import ARGUMENTS, algorithm, batch, distiller
from .skd_models import LOGIT_LOSSES, build, simplifier


def refused(match, losses=None, error=ValueError, **arguments):
    losses = losses or {'loss_kl': LOGIT_LOSSES['KLDivergence']}
    with pytest.raises(error, match=match):
        build(losses, **arguments)


def test_a_simplified_loss_that_does_not_exist():
    refused(
        r"simplified_losses='loss_x', expected a loss of loss_forward_mappings: \['loss_kl'\]",
        simplified_losses=dict(loss_x='preds_T'),
    )


def test_a_simplified_argument_that_does_not_exist():
    refused(
        r"simplified_losses\.loss_kl='teacher', expected .*\['preds_S', 'preds_T'\]",
        simplified_losses=dict(loss_kl='teacher'),
    )


@pytest.mark.parametrize('value', [{}, 'loss_kl', ['loss_kl']])
def test_simplified_losses_that_name_no_loss(value):
    refused(r'distiller\.simplified_losses=.*, expected a dict like', simplified_losses=value)


@pytest.mark.parametrize('value', [-0.1, 2, 'no'])
def test_entropy_grad_out_of_range(value):
    refused(rf'distiller\.entropy_grad={value!r}, expected', entropy_grad=value)


def test_a_loss_of_another_number_of_classes():
    refused(
        r'loss_wsld: num_classes=1000, expected 10, as distiller\.teacher_recorders\.fc has',
        losses={'loss_wsld': dict(type='WSLD', tau=2)},
    )


def test_logits_that_are_several_tensors():
    feature = dict(type='ModuleOutputs', source='neck')
    model = build(
        {'loss_kl': LOGIT_LOSSES['KLDivergence']},
        simplifier=simplifier(num_classes=10),
        simplified_losses=dict(loss_kl='preds_T'),
        teacher_recorders=dict(fc=feature),
    )
    with pytest.raises(ValueError, match=r"logits='tuple', expected .* data_idx"):
        model(*batch(), mode='loss')


def test_recorder_that_is_not_defined():
    refused(
        r"loss_forward_mappings\.loss_kl=.*'recorder': 'fc'.*must be in.*student_recorders",
        student_recorders={},
    )


@pytest.mark.parametrize('side', ['student', 'teacher'])
def test_recorder_on_a_module_that_does_not_exist(side):
    recorders = dict(
        fc=dict(type='ModuleOutputs', source='head.classifier'),
        gt_labels=dict(type='ModuleInputs', source='head.loss_module'),
    )
    refused(
        rf"{side}_recorders=.*'fc': 'head\.classifier'.*, expected modules of the {side} "
        r"ImageClassifier, whose logits may be of \['head\.fc'\]",
        **{f'{side}_recorders': recorders},
    )


def test_teacher_logits_that_are_never_recorded():
    mapping = dict(
        loss_kl=dict(
            preds_S=dict(recorder='fc', from_student=True),
            preds_T=dict(recorder='fc', from_student=True),
        )
    )
    refused(
        r'loss_kl\.preds_T\.from_student=True, expected False: the logits of the teacher',
        loss_forward_mappings=mapping,
    )
    mapping = dict(loss_kl=dict(preds_S=dict(recorder='fc', from_student=True)))
    refused(r"loss_kl=\{.*expected an entry for 'preds_T'", loss_forward_mappings=mapping)


def test_num_classes_that_contradicts_the_teacher():
    refused(
        r'simplifier: num_classes=100, expected 10, as distiller\.teacher_recorders\.fc has; a c',
        simplifier=simplifier(num_classes=100),
    )


@pytest.mark.parametrize('value', [0, 2.5, None])
def test_an_interval_of_no_steps_is_named(value):
    refused(rf'log_interval={value!r}, expected an integer > 0', log_interval=value)


@pytest.mark.parametrize('value', [None, 'AttentionSimplifierConnector', dict(tau=4)])
def test_simplifier_without_a_type(value):
    refused(r"distiller\.simplifier=.*, expected a dict with a 'type'", simplifier=value)


@pytest.mark.parametrize('name', ['', 'nowhere.X', 'NoSimplifier'])
def test_simplifier_of_a_type_that_does_not_exist(name):
    refused(rf"distiller\.simplifier=\{{'type': '{name}'\}}, expected", simplifier=dict(type=name))


def test_bad_simplifier_argument_at_build():
    refused(
        r'AttentionSimplifierConnector: max_lam=1\.5, expected', simplifier=simplifier(max_lam=1.5)
    )


def test_a_loss_of_an_argmax_is_refused():
    refused(
        r"loss_ce: gradient of CrossEntropyLoss to its preds_T='none', expected a finite one",
        losses={'loss_ce': dict(type='CrossEntropyLoss')},
    )


@pytest.mark.parametrize(
    'loss',
    [
        dict(type='DKDLoss', alpha=0, beta=0),
        dict(type='DISTLoss', inter_loss_weight=0, intra_loss_weight=0),
    ],
)
def test_a_loss_whose_weights_leave_no_gradient_is_refused(loss):
    refused(r"loss_x: gradient of .* to its .*='of a sum of 0', exp", losses={'loss_x': loss})


@MODELS.register_module()
class DetachingLoss(torch.nn.Module):
    def forward(self, preds_S, preds_T):
        return ((preds_S - preds_T.detach()) ** 2).mean()


@MODELS.register_module()
class LossOfDictsAndLogits(torch.nn.Module):
    """Cannot be tried on random tensors."""

    def forward(self, preds_S, preds_T):
        if preds_S['logits'] is None:
            raise KeyError
        return ((preds_S['logits'] - preds_T.detach()) ** 2).mean()


@MODELS.register_module()
class DetachingLossOfLabels(torch.nn.Module):
    def forward(self, preds_S, preds_T, gt_labels):
        return (preds_S - preds_T.detach())[range(len(gt_labels)), gt_labels].square().mean()


ARGUMENTS.update(DetachingLoss=('preds_S', 'preds_T'), LossOfDictsAndLogits=('preds_S', 'preds_T'))
ARGUMENTS.update(DetachingLossOfLabels=('preds_S', 'preds_T', 'gt_labels'))


@pytest.mark.parametrize('name', ['DetachingLoss', 'DetachingLossOfLabels'])
def test_a_users_loss_that_detaches_is_refused_when_built(name):
    refused(
        rf"loss_x: gradient of {name} to its preds_T='none'",
        losses={'loss_x': dict(type=name)},
        simplified_losses=dict(loss_x='preds_T'),
        simplifier=simplifier(tau=1),
    )


def test_a_loss_that_could_not_be_tried_is_refused_at_the_first_step():
    model = build(
        {'loss_x': dict(type='LossOfDictsAndLogits')},
        simplified_losses=dict(loss_x='preds_T'),
        simplifier=simplifier(tau=1),
    )
    recorder = model.distiller.student_recorders.get_recorder('fc')
    original = recorder.get_record_data
    recorder.get_record_data = lambda *a, **k: {'logits': original(*a, **k)}
    with pytest.raises(ValueError, match='loss_x: gradient of LossOfDictsAndLogits to its'):
        model(*batch(), mode='loss')


def test_a_config_without_a_teacher():
    cfg = algorithm(distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}))
    del cfg['teacher']
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'teacher'"):
        MODELS.build(cfg)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_teacher_that_puts_out_nan(value):
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    model.teacher.head.fc.bias.data.fill_(value)
    with pytest.raises(ValueError, match='NaN or Inf'):
        model(*batch(), mode='loss')


def test_a_model_cast_to_half_precision():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']}).bfloat16()
    with pytest.raises(ValueError, match='expected float32'):
        model(*batch(dtype=torch.bfloat16), mode='loss')


def test_a_distiller_that_reads_no_student_is_refused():
    def mapping(argument):
        return dict(recorder='fc', from_student=False)

    cfg = distiller({'loss_x': LOGIT_LOSSES['KLDivergence']})
    for argument in cfg['loss_forward_mappings']['loss_x']:
        cfg['loss_forward_mappings']['loss_x'][argument] = mapping(argument)
    with pytest.raises(ValueError, match=r"a loss with 'from_student=True'"):
        MODELS.build(algorithm(cfg))

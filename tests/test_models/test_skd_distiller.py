import copy
import pickle

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS

from skd_mmrazor.models import (
    AttentionSimplifierConnector,
    LogSpaceDKDLoss,
    LogSpaceKLDivergence,
    SKDDistiller,
)

from ..conftest import ARGUMENTS, algorithm, batch, classifier, distiller

LOGIT_LOSSES = {
    'KLDivergence': dict(type='KLDivergence', tau=4),
    'LogSpaceKLDivergence': dict(type='LogSpaceKLDivergence', tau=4),
    'DKDLoss': dict(type='DKDLoss', tau=4, beta=2.0),
    'LogSpaceDKDLoss': dict(type='LogSpaceDKDLoss', tau=4, beta=2.0),
    'DISTLoss': dict(type='DISTLoss', tau=4),
    'KDSoftCELoss': dict(type='KDSoftCELoss', tau=4),
    'WSLD': dict(type='WSLD', tau=4, num_classes=10),
}


def build(losses, skd=True, algorithm_arguments=None, **distiller_arguments):
    cfg = algorithm(distiller(losses, skd, **distiller_arguments), **(algorithm_arguments or {}))
    return MODELS.build(copy.deepcopy(cfg))


def simplifier(**arguments):
    return dict(type='AttentionSimplifierConnector', **arguments)


def total(losses):
    return sum(value for key, value in losses.items() if 'loss' in key)


def train(model, steps, **optimizer):
    """Steps of the optimizer that mmengine builds; returns the last losses."""
    model.train()
    cfg = dict(optimizer=dict(type='SGD', lr=0.1, **optimizer))
    optim_wrapper = build_optim_wrapper(model, cfg)
    for _ in range(steps):
        losses = model(*batch(), mode='loss')
        optim_wrapper.update_params(total(losses))
    return losses


@pytest.mark.parametrize('name', LOGIT_LOSSES)
@pytest.mark.parametrize('form', [{}, dict(max_lam=0, learn_lam=False)])
def test_identity(name, form):
    """At the start, and where λ is 0, SKD + X is X: loss and student gradients."""
    results = []
    for skd in (False, True):
        torch.manual_seed(3)
        arguments = dict(simplifier=simplifier(start_factor=1, **form)) if skd else {}
        model = build({'loss_x': LOGIT_LOSSES[name]}, skd, **arguments).double()
        torch.manual_seed(4)
        for network in (model.student, model.teacher):
            for parameter in network.parameters():
                torch.nn.init.normal_(parameter, std=0.3)
        losses = model(*batch(dtype=torch.float64), mode='loss')
        total(losses).backward()
        gradients = [p.grad for p in model.student.parameters()]
        results.append((losses['distill.loss_x'], gradients))
    (loss, gradients), (skd_loss, skd_gradients) = results
    torch.testing.assert_close(skd_loss, loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(skd_gradients, gradients, rtol=0, atol=1e-6)


@pytest.mark.parametrize('name', LOGIT_LOSSES)
@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
def test_joint_training(name, attend_over):
    """After a step every simplifier parameter learns, and the teacher does not."""
    model = build({'loss_x': LOGIT_LOSSES[name]}, simplifier=simplifier(attend_over=attend_over))
    teacher = copy.deepcopy(model.teacher.state_dict())
    train(model, steps=2)
    total(model(*batch(), mode='loss')).backward()
    for parameter in model.distiller.simplifier.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0
    assert all(p.grad is None for p in model.teacher.parameters())
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, teacher[key])


def test_skd_with_mmrazors_dkd_trains_without_nan_and_keeps_its_weight():
    """mmrazor's reduction='mean' is a sum; SKD keeps that, and says so once."""
    losses = {'loss_dkd': dict(type='DKDLoss', tau=1, beta=0.5, reduction='mean')}
    with pytest.warns(UserWarning, match=r'loss_dkd: .* sums .*LogSpaceDKDLoss') as record:
        model = build(losses)
    assert sum('LogSpaceDKDLoss' in str(w.message) for w in record) == 1
    loss = model.distiller.distill_losses['loss_dkd']
    theirs = MODELS.build(dict(losses['loss_dkd'], _scope_='mmrazor'))
    s, t, labels = torch.randn(6, 10), torch.randn(6, 10), torch.randint(10, (6,))
    torch.testing.assert_close(loss(s, t, labels), theirs(s, t, labels))
    last = train(model, steps=5)
    assert all(value.isfinite().all() for value in last.values())
    assert all(p.isfinite().all() for p in model.parameters())


def test_default_dkd_needs_no_warning(recwarn):
    build({'loss_dkd': dict(type='DKDLoss')})
    assert not [w for w in recwarn if 'DKD' in str(w.message)]


def test_losses_are_replaced_only_where_they_must_be():
    model = build(
        {
            'loss_kl': LOGIT_LOSSES['KLDivergence'],
            'loss_dkd': LOGIT_LOSSES['DKDLoss'],
            'loss_dist': LOGIT_LOSSES['DISTLoss'],
            'loss_wsld': LOGIT_LOSSES['WSLD'],
        }
    )
    losses = model.distiller.distill_losses
    assert type(losses['loss_kl']) is LogSpaceKLDivergence
    assert type(losses['loss_dkd']) is LogSpaceDKDLoss
    assert type(losses['loss_dist']).__name__ == 'DISTLoss'
    assert losses['loss_dist'].teacher_detach is False
    assert type(losses['loss_wsld']).__name__ == 'WSLD'


def test_losses_of_a_high_temperature_are_replaced_too():
    """Float32 rounds away most digits of a divergence of targets that are nearly uniform."""
    model = build(
        {'loss_kl': dict(type='KLDivergence', tau=100), 'loss_dkd': dict(type='DKDLoss', tau=100)}
    )
    assert type(model.distiller.distill_losses['loss_kl']) is LogSpaceKLDivergence
    assert type(model.distiller.distill_losses['loss_dkd']) is LogSpaceDKDLoss


def test_one_pass_however_many_losses_read_it():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence'], 'loss_dkd': LOGIT_LOSSES['DKDLoss']})
    passes = []
    model.distiller.simplifier.register_forward_hook(lambda *_: passes.append(1))
    model(*batch(), mode='loss')
    assert len(passes) == 1


def test_classes_and_temperature_come_from_teacher_and_loss():
    model = build(
        {'loss_kl': dict(type='KLDivergence', tau=3)},
        algorithm_arguments=dict(
            architecture=classifier(2, num_classes=7), teacher=classifier(4, num_classes=7)
        ),
    )
    assert model.distiller.simplifier.num_classes == 7
    assert model.distiller.simplifier.tau == 3
    # Of a loss that has no temperature.
    assert build({'loss_l2': dict(type='L2Loss')}).distiller.simplifier.tau == 1


def test_own_temperature_settles_losses_that_differ():
    losses = {
        'loss_a': dict(type='KLDivergence', tau=1),
        'loss_b': dict(type='KLDivergence', tau=4),
    }
    with pytest.raises(ValueError, match=r"simplifier\.tau=None, expected a number.*'loss_b': 4"):
        build(losses)
    assert build(losses, simplifier=simplifier(tau=2)).distiller.simplifier.tau == 2


def test_features_only_gain_a_logit_loss():
    """In a config whose default scope is that of another library, too."""
    feature = dict(type='mmrazor.ModuleOutputs', source='neck')
    cfg = dict(
        type='mmrazor.SKDDistiller',
        simplifier=simplifier(),
        student_recorders=dict(neck=feature),
        teacher_recorders=dict(neck=dict(feature)),
        distill_losses=dict(loss_rkd=dict(type='mmrazor.DistanceWiseRKD', with_l2_norm=True)),
        loss_forward_mappings=dict(
            loss_rkd=dict(
                preds_S=dict(recorder='neck', from_student=True, data_idx=0),
                preds_T=dict(recorder='neck', from_student=False, data_idx=0),
            )
        ),
    )
    cfg = algorithm(cfg, type='mmrazor.SingleTeacherDistill')
    del cfg['_scope_']
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg)
    losses = model(*batch(), mode='loss')
    assert {'distill.loss_rkd', 'distill.loss_skd'} <= set(losses)
    total(losses).backward()
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0


def test_statistics_are_logged_and_not_optimised():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    losses = model(*batch(), mode='loss')
    _, logged = model.parse_losses(losses)
    expected = {'teacher_entropy', 'simplified_entropy', 'top1_agreement', 'lam'}
    assert expected <= {key.replace('distill.', '') for key in logged}
    torch.testing.assert_close(logged['loss'], losses['student.loss'] + losses['distill.loss_kl'])
    logits = model.distiller.teacher_recorders.get_recorder('fc').get_record_data()
    p = (logits / 4).softmax(1)
    torch.testing.assert_close(logged['distill.teacher_entropy'], -(p * p.log()).sum(1).mean())
    assert logged['distill.top1_agreement'] == 1
    assert logged['distill.lam'] == 0


def test_a_gpu_is_still_to_be_asked_about_its_logits_once_built():
    """The distiller tries its simplifier on sound logits of its own, on the CPU."""
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    with pytest.raises(RuntimeError, match='meta'):
        model.distiller.simplifier(torch.randn(6, 10, device='meta'))


@pytest.mark.parametrize(('loss', 'reached'), [({}, False), (dict(teacher_detach=False), True)])
def test_a_trainable_teacher_is_reached_only_where_the_loss_says_so(loss, reached):
    losses = {'loss_kl': dict(type='KLDivergence', tau=4, **loss)}
    model = build(losses, algorithm_arguments=dict(teacher_trainable=True))
    model(*batch(), mode='loss')['distill.loss_kl'].backward()
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0
    assert (model.teacher.head.fc.weight.grad is not None) is reached


def test_a_trainable_teacher_learns_by_a_loss_that_always_lets_it():
    reached = []
    for skd in (False, True):
        losses = {'loss_wsld': LOGIT_LOSSES['WSLD']}
        model = build(losses, skd, algorithm_arguments=dict(teacher_trainable=True))
        model(*batch(), mode='loss')['distill.loss_wsld'].backward()
        reached.append(model.teacher.head.fc.weight.grad)
    assert all(gradient.abs().sum() > 0 for gradient in reached)


def test_what_one_loss_keeps_from_a_trainable_teacher_no_other_loss_passes():
    losses = {
        'loss_kl': dict(type='KLDivergence', tau=4),
        'loss_open': dict(type='KLDivergence', tau=4, teacher_detach=False),
    }
    model = build(losses, algorithm_arguments=dict(teacher_trainable=True))
    found = model(*batch(), mode='loss')
    weight = model.teacher.head.fc.weight
    gradients = [
        torch.autograd.grad(found[f'distill.{name}'], weight, retain_graph=True, allow_unused=True)
        for name in losses
    ]
    assert gradients[0] == (None,)
    assert gradients[1][0].abs().sum() > 0


def test_paramwise_cfg_gives_the_simplifier_its_own_learning_rate():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    cfg = dict(
        optimizer=dict(type='SGD', lr=0.1, weight_decay=0.01),
        paramwise_cfg=dict(
            custom_keys={'distiller.simplifier': dict(lr_mult=0.01, decay_mult=0.0)}
        ),
    )
    groups = build_optim_wrapper(model, cfg).optimizer.param_groups
    ours = {id(p) for p in model.distiller.simplifier.parameters()}
    held = [g for g in groups if id(g['params'][0]) in ours]
    assert len(held) == len(ours)
    assert {(g['lr'], g['weight_decay']) for g in held} == {(0.001, 0.0)}


def test_the_student_starts_as_it_would_without_skd():
    students = []
    for skd in (False, True):
        torch.manual_seed(5)
        model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']}, skd)
        model.init_weights()
        students.append(model.student.state_dict())
    torch.testing.assert_close(students[0], students[1], rtol=0, atol=0)


def test_inference_is_the_student_alone():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    model.eval()

    def fail(*_):
        raise AssertionError('the simplifier ran at inference')

    model.distiller.simplifier.register_forward_pre_hook(fail)
    inputs, samples = batch()
    ours = model(inputs, samples, mode='predict')
    alone = model.student(inputs, samples, mode='predict')
    for a, b in zip(ours, alone, strict=True):
        torch.testing.assert_close(a.pred_score, b.pred_score)
    torch.testing.assert_close(model(inputs), model.student(inputs))


@pytest.mark.parametrize('size', [1, 5])
def test_odd_batches(size):
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence'], 'loss_dkd': LOGIT_LOSSES['DKDLoss']})
    model.eval()  # batch norm needs more than one sample
    losses = model(*batch(size), mode='loss')
    total(losses).backward()
    assert all(value.isfinite().all() for value in losses.values())


def test_the_config_is_left_as_it_was():
    cfg = algorithm(distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}))
    mappings = cfg['distiller']['loss_forward_mappings']
    before = copy.deepcopy(mappings)
    MODELS.build(cfg)
    assert mappings == before


# Bad input. Every message names the key, the value and what was expected.


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
        r'simplifier: num_classes=100, expected 10, as distiller\.teacher_recorders\.fc has',
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


ARGUMENTS.update(DetachingLoss=('preds_S', 'preds_T'), LossOfDictsAndLogits=('preds_S', 'preds_T'))


def test_a_users_loss_that_detaches_is_refused_when_built():
    refused(
        r"loss_x: gradient of DetachingLoss to its preds_T='none'",
        losses={'loss_x': dict(type='DetachingLoss')},
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


def methods_own(type_, losses, **parts):
    recorder = dict(type='ModuleOutputs', source='head.fc')
    features = dict(
        s_feature=dict(recorder='fc', from_student=True),
        t_feature=dict(recorder='fc', from_student=False),
    )
    return dict(
        _scope_='mmrazor',
        type=type_,
        simplifier=simplifier(),
        student_recorders=dict(fc=recorder),
        teacher_recorders=dict(fc=recorder),
        distill_losses=dict(loss_x=losses),
        loss_forward_mappings=dict(loss_x=features),
        **parts,
    )


BYOT = dict(type='BYOTConnector', in_channel=4, out_channel=4, num_classes=10)


@pytest.mark.parametrize(
    ('name', 'loss', 'parts'),
    [
        ('SKDOFDDistiller', dict(type='OFDLoss'), {}),
        ('SKDBYOTDistiller', dict(type='L1Loss'), dict(connectors=dict(c=BYOT))),
    ],
)
def test_a_method_with_a_distiller_of_its_own_is_told_the_type(name, loss, parts):
    built = MODELS.build(methods_own(name, loss, **parts))
    assert isinstance(built, SKDDistiller)
    assert type(built).__name__ == name
    with pytest.raises(ValueError, match=f"distiller.type='SKDDistiller', expected '{name}'"):
        MODELS.build(methods_own('SKDDistiller', loss, **parts))


@pytest.mark.parametrize('name', ['SKDDistiller', 'SKDOFDDistiller', 'SKDBYOTDistiller'])
def test_an_algorithm_can_be_copied_and_pickled(name):
    cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, type=name, log_interval=1)
    model = MODELS.build(algorithm(cfg))
    data = batch()
    for same in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(same.distiller) is type(model.distiller)
        torch.testing.assert_close(same(*data, mode='loss'), model(*data, mode='loss'))


@MODELS.register_module()
class NoisyConnector(torch.nn.Module):
    """Has a state, and draws random numbers, in training mode."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(10)
        self.dropout = torch.nn.Dropout()

    def forward(self, logits):
        return self.dropout(self.norm(logits))


def test_a_connector_runs_once_in_a_step():
    """Its state and the random numbers are those of a step without SKD."""
    found = []
    for skd in (False, True):
        cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, skd)
        cfg['connectors'] = dict(noisy=dict(type='NoisyConnector'))
        cfg['loss_forward_mappings']['loss_kl']['preds_S']['connector'] = 'noisy'
        torch.manual_seed(3)
        model = MODELS.build(algorithm(copy.deepcopy(cfg)))
        model.train()
        torch.manual_seed(4)
        model(*batch(), mode='loss')
        state = model.distiller.connectors.state_dict()
        assert state.pop('noisy.norm.num_batches_tracked') == 1
        found.append([torch.rand(1), *state.values()])
    torch.testing.assert_close(*found)


@MODELS.register_module()
class ScalingDistiller(ConfigurableDistiller):
    """A distiller whose records can be scaled and detached."""

    def get_record(self, *args, scale=1.0, detach=False, **kwargs):
        """Gets a record times ``scale``."""
        record = scale * super().get_record(*args, **kwargs)
        return record.detach() if detach else record


@MODELS.register_module()
class ScalingSKDDistiller(SKDDistiller, ScalingDistiller):
    """That, with SKD."""


def test_a_record_has_the_keys_of_its_base():
    cfg = distiller({'loss_kl': LOGIT_LOSSES['KLDivergence']}, type='ScalingSKDDistiller')
    mapping = cfg['loss_forward_mappings']['loss_kl']
    mapping['preds_S'].update(scale=2.0, detach=True)
    mapping['preds_T'].update(scale=3.0, detach=False)
    model = MODELS.build(algorithm(copy.deepcopy(cfg)))
    loss = model(*batch(), mode='loss')['distill.loss_kl']
    loss.backward()
    assert loss > 0
    assert model.student.head.fc.weight.grad is None
    assert model.distiller.simplifier.lam_logit.grad.abs() > 0


@MODELS.register_module()
class SummingDistiller(ConfigurableDistiller):
    """A distiller that reads a list of recorders in its own way."""

    def get_record(self, recorder, **kwargs):
        """Gets the sum of the records."""
        names = recorder if isinstance(recorder, (list, tuple)) else [recorder]
        return sum(super(SummingDistiller, self).get_record(name, **kwargs) for name in names)

    def _check_loss_forward_mappings(self, *args):
        """Mappings have a schema of their own."""


@MODELS.register_module()
class SummingSKDDistiller(SKDDistiller, SummingDistiller):
    """That, with SKD."""


def test_mappings_of_another_schema_are_left_to_their_distiller():
    found = []
    for name in ('SummingDistiller', 'SummingSKDDistiller'):
        torch.manual_seed(3)
        settings = dict(num_classes=10, start_factor=1)
        cfg = distiller(
            {'loss_kl': LOGIT_LOSSES['KLDivergence']},
            skd='SKD' in name,
            **(dict(simplifier=simplifier(**settings)) if 'SKD' in name else {}),
        )
        cfg['type'] = name
        for record in cfg['loss_forward_mappings']['loss_kl'].values():
            record['recorder'] = ['fc', 'fc']
        model = MODELS.build(algorithm(cfg))
        torch.manual_seed(4)
        found.append(model(*batch(), mode='loss')['distill.loss_kl'])
    torch.testing.assert_close(*found)


@MODELS.register_module()
class PathDistiller(ConfigurableDistiller):
    """A distiller whose records are ``'student.fc'`` and such."""

    def get_record(self, path=None, **kwargs):
        """Gets a record by its path."""
        if path:
            side, _, name = path.partition('.')
            kwargs = dict(recorder=name, from_student=side == 'student')
        return super().get_record(**kwargs)

    def compute_distill_losses(self):
        """Of paths, the losses of features."""
        losses = {}
        for name, mapping in self.loss_forward_mappings.items():
            read = {
                key: self.get_record(**(dict(path=value) if isinstance(value, str) else value))
                for key, value in mapping.items()
            }
            losses[name] = self.distill_losses[name](**read)
        return losses

    def _check_loss_forward_mappings(self, *args):
        """Mappings have a schema of their own."""


@MODELS.register_module()
class PathSKDDistiller(SKDDistiller, PathDistiller):
    """That, with SKD."""


def test_records_that_are_no_dicts_are_left_to_their_distiller():
    cfg = distiller(
        {'loss_l2': dict(type='L2Loss')},
        type='PathSKDDistiller',
        logit_loss=dict(type='KLDivergence'),
    )
    cfg['loss_forward_mappings']['loss_l2'] = dict(s_feature='student.fc', t_feature='teacher.fc')
    model = MODELS.build(algorithm(cfg))
    losses = model(*batch(), mode='loss')
    assert losses['distill.loss_l2'] > 0
    assert losses['distill.loss_skd'] > 0


def test_a_maximised_loss_is_refused():
    with pytest.raises(ValueError, match=r'loss_x.loss_weight=-1.* not a generator'):
        build({'loss_x': dict(LOGIT_LOSSES['KLDivergence'], loss_weight=-1)})


def test_a_loss_of_weight_0_is_computed():
    """As in a control; its gradient is 0, as that of a loss that cannot train is."""
    model = build({'loss_x': dict(LOGIT_LOSSES['KLDivergence'], loss_weight=0)})
    losses = model(*batch(), mode='loss')
    assert losses['distill.loss_x'] == 0
    assert losses['distill.teacher_entropy'] > 0


def test_a_distiller_that_reads_no_student_is_refused():
    def mapping(argument):
        return dict(recorder='fc', from_student=False)

    cfg = distiller({'loss_x': LOGIT_LOSSES['KLDivergence']})
    for argument in cfg['loss_forward_mappings']['loss_x']:
        cfg['loss_forward_mappings']['loss_x'][argument] = mapping(argument)
    with pytest.raises(ValueError, match=r"a loss with 'from_student=True'"):
        MODELS.build(algorithm(cfg))


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
def test_a_stock_distiller_with_the_connector_equals_skd(attend_over):
    """Losses and λ, step by step, over a training of four steps."""
    loss = dict(type='LogSpaceKLDivergence', tau=4)
    form = dict(attend_over=attend_over, warmup_iters=3, max_lam=0.5)
    plain = distiller({'loss_kl': loss}, skd=False)
    plain['connectors'] = dict(simplifier=simplifier(num_classes=10, tau=4, **form))
    plain['loss_forward_mappings']['loss_kl']['preds_T']['connector'] = 'simplifier'
    with_skd = distiller({'loss_kl': loss}, simplifier=simplifier(**form))
    seen = []
    for cfg in (plain, with_skd):
        torch.manual_seed(3)
        model = MODELS.build(algorithm(copy.deepcopy(cfg)))
        part = getattr(model.distiller, 'simplifier', None)
        part = part or model.distiller.connectors['simplifier']
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        torch.manual_seed(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(4):
            losses = model(*batch(), mode='loss')
            optimizer.zero_grad()
            total(losses).backward()
            optimizer.step()
            seen.append([losses['distill.loss_kl'].item(), part.current_lam.item()])
        assert part.num_steps == 4
    assert seen[:4] == seen[4:]


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
@pytest.mark.parametrize('shape', [(8, 10), (8, 10, 5, 5)])
@pytest.mark.parametrize('lam', [3.0, -3.0])
def test_a_sample_without_a_class_changes_no_other(attend_over, shape, lam):
    """As padding has, of independent classes: the whole row is masked."""
    form = dict(attend_over=attend_over, softening='scale', start_factor=1.0)
    simplifier_ = AttentionSimplifierConnector(10, **form)
    simplifier_.lam_logit.data.fill_(lam)
    # Of few alike, so that each sample attends to others.
    for projection in (simplifier_.attention.q, simplifier_.attention.k):
        projection.weight.data.normal_()
    logits = 3 * torch.randn(shape)
    logits[0] = torch.finfo(torch.float32).min
    if len(shape) == 4:
        logits[:, :, 0, 0] = -1e9
    simplified = simplifier_(logits)
    change = (simplified.sigmoid() - logits.sigmoid()).abs()
    assert simplified.isfinite().all()
    assert 0 < change.max() < 0.3
    simplified.sigmoid().sum().backward()
    assert all(p.grad.isfinite().all() for p in simplifier_.parameters())

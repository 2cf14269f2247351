"""SKD starts as its base, trains beside the student, and leaves inference alone."""

import copy
import gc
import weakref

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmrazor.registry import MODELS

from ..conftest import algorithm, batch, distiller
from .skd_models import LOGIT_LOSSES, build, simplifier, total, train


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


def test_one_pass_however_many_losses_read_it():
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence'], 'loss_dkd': LOGIT_LOSSES['DKDLoss']})
    passes = []
    model.distiller.simplifier.register_forward_hook(lambda *_: passes.append(1))
    model(*batch(), mode='loss')
    assert len(passes) == 1


def test_records_that_differ_in_one_key_are_simplified_each():
    """At the start a simplified record is the record."""
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']}, simplifier=simplifier(start_factor=1))
    get, model.distiller.connectors['tanh'] = model.distiller.get_record, torch.nn.Tanh()
    for side in (model.distiller.student_recorders, model.distiller.teacher_recorders):
        side.get_recorder('fc').data_buffer[:] = [[*x] for x in torch.randn(2, 2, 2, 6, 10)]
    keys = ('from_student', 'record_idx', 'data_idx', 'connector_idx')
    first = dict(dict.fromkeys(keys, 0), recorder='fc')
    for other in ({}, dict(connector='tanh'), *({key: 1} for key in keys)):
        entry = first | other
        assert torch.equal(get(**entry, simplify=dict(detach=False)), get(**entry)), other


def test_a_step_that_fails_leaves_nothing_to_the_next(monkeypatch):
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    loss, data = model.distiller.distill_losses['loss_kl'], batch()
    monkeypatch.setattr(loss, 'forward', lambda **records: torch.ones(2) + torch.ones(3))
    with pytest.raises(ValueError, match='loss_kl'):
        model(*batch(), mode='loss')
    monkeypatch.undo()
    found = model(*data, mode='loss')['distill.loss_kl']
    torch.testing.assert_close(model(*data, mode='loss')['distill.loss_kl'], found)


def test_nothing_of_a_step_is_kept_beside_the_records():
    """Neither the simplified logits, nor the networks that were prepared."""
    model, kept = build({'loss_kl': LOGIT_LOSSES['KLDivergence']}), []
    model.distiller.simplifier.register_forward_hook(lambda *a: kept.append(weakref.ref(a[-1])))
    model(*batch(), mode='loss')
    kept.append(weakref.ref(model.teacher))
    model.teacher = None
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


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


def test_the_first_logits_are_checked_though_building_has_tried_others():
    """The distiller tries its simplifier on sound logits of its own, on the CPU."""
    model = build({'loss_kl': LOGIT_LOSSES['KLDivergence']})
    with pytest.raises(RuntimeError, match='meta'):
        model.distiller.simplifier(torch.randn(6, 10, device='meta'))


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

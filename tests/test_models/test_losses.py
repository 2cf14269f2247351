import pytest
import torch
from mmrazor.models.losses import DKDLoss, KLDivergence
from mmrazor.registry import MODELS
from packaging.version import Version

from skd_mmrazor.models.losses import (
    LogSpaceBinaryKLDivergence,
    LogSpaceDKDLoss,
    LogSpaceKLDivergence,
)

TAUS = (1.0, 4.0)


def logits(*shape, scale=3.0):
    return (scale * torch.randn(*shape, dtype=torch.float64)).requires_grad_()


def kl_by_hand(student, teacher, tau):
    """KL(T || S) of softened logits from probabilities, per sample."""
    s, t = (
        torch.exp(z / tau) / torch.exp(z / tau).sum(1, keepdim=True) for z in (student, teacher)
    )
    return tau**2 * (t * (t.log() - s.log())).sum(1)


def dkd_by_hand(student, teacher, labels, tau, alpha, beta):
    """DKD from its paper's definition, one sample and one class at a time."""
    total = []
    for s, t, y in zip(student, teacher, labels, strict=True):
        p, q = torch.softmax(s / tau, 0), torch.softmax(t / tau, 0)
        tckd = q[y] * (q[y] / p[y]).log() + (1 - q[y]) * ((1 - q[y]) / (1 - p[y])).log()
        rest = [c for c in range(len(s)) if c != y]
        p, q = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        nckd = sum(b * (b / a).log() for a, b in zip(p, q, strict=True))
        total.append(tau**2 * (alpha * tckd + beta * nckd))
    return torch.stack(total)


@pytest.mark.parametrize('tau', TAUS)
@pytest.mark.parametrize('shape', [(5, 7), (2, 3, 4, 5)])
@pytest.mark.parametrize('reduction', ['none', 'batchmean', 'sum', 'mean'])
def test_kl_equals_mmrazor(tau, shape, reduction):
    s, t = logits(*shape), logits(*shape)
    ours = LogSpaceKLDivergence(tau, reduction, loss_weight=0.7)(s, t)
    theirs = KLDivergence(tau, reduction, loss_weight=0.7)(s, t)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize('tau', TAUS)
def test_kl_equals_the_formula(tau):
    s, t = logits(5, 7), logits(5, 7)
    torch.testing.assert_close(LogSpaceKLDivergence(tau)(s, t), kl_by_hand(s, t, tau).mean())


def test_the_temperature_is_1_where_none_is_given():
    s, t = logits(5, 7), logits(5, 7)
    torch.testing.assert_close(LogSpaceKLDivergence()(s, t), kl_by_hand(s, t, 1).mean())


@pytest.mark.parametrize('tau', TAUS)
@pytest.mark.parametrize('labels_shape', [(6,), (6, 1)])
@pytest.mark.parametrize('reduction', ['batchmean', 'mean'])
def test_dkd_equals_mmrazor_and_the_formula(tau, labels_shape, reduction):
    s, t = logits(6, 7), logits(6, 7)
    labels = torch.randint(7, labels_shape)
    ours = LogSpaceDKDLoss(tau, 1.0, 2.0, reduction)(s, t, labels)
    torch.testing.assert_close(ours, DKDLoss(tau, 1.0, 2.0)(s, t, labels), rtol=0, atol=1e-6)
    by_hand = dkd_by_hand(s, t, labels.reshape(-1), tau, 1.0, 2.0)
    torch.testing.assert_close(ours, by_hand.mean())
    torch.testing.assert_close(LogSpaceDKDLoss(tau, 1.0, 2.0, 'none')(s, t, labels), by_hand)


@pytest.mark.parametrize('reduction', ['mean', 'none', 'sum'])
def test_mmrazor_dkd_sums_whatever_its_reduction_says(reduction):
    """The defect that SKDDistiller's warning describes is still there."""
    s, t, labels = logits(6, 7), logits(6, 7), torch.randint(7, (6,))
    theirs = DKDLoss(reduction=reduction)(s, t, labels)
    torch.testing.assert_close(theirs, LogSpaceDKDLoss(reduction='sum')(s, t, labels))


def test_mmrazor_dkd_gives_nan_to_the_teacher():
    """The reason for the log-space form is still there."""
    s, t = logits(6, 7), logits(6, 7)
    DKDLoss()(s, t, torch.randint(7, (6,))).backward()
    assert t.grad.isnan().any()
    assert s.grad.isfinite().all()


LOSSES = [LogSpaceKLDivergence, LogSpaceDKDLoss]
ALL_LOSSES = [*LOSSES, LogSpaceBinaryKLDivergence]


@pytest.mark.parametrize('loss', ALL_LOSSES)
@pytest.mark.parametrize('num_classes', [2, 5])
def test_gradients_are_true(loss, num_classes):
    labels = [torch.randint(num_classes, (4,))] if loss is LogSpaceDKDLoss else []
    module = loss(2.0, entropy_grad=1.0)
    s, t = logits(4, num_classes, scale=1.0), logits(4, num_classes, scale=1.0)
    assert torch.autograd.gradcheck(lambda s, t: module(s, t, *labels), (s, t))


def test_a_second_derivative_of_independent_classes_is_refused():
    """And not left out of a sum of losses."""
    s, t = logits(4, 5), logits(4, 5)
    value = LogSpaceBinaryKLDivergence()(s, t) + s.square().sum()
    with pytest.raises(RuntimeError, match='out='):
        torch.autograd.grad(value, s, create_graph=True)


def gradients(loss, student, teacher, labels, **arguments):
    """The value of a loss, and its gradients to both networks' logits."""
    s, t = (z.detach().clone().requires_grad_() for z in (student, teacher))
    value = loss(2.0, **arguments)(s, t, *([labels] if loss is LogSpaceDKDLoss else []))
    value.backward()
    return value.detach(), s.grad, t.grad


@pytest.mark.parametrize('loss', ALL_LOSSES)
def test_entropy_grad_weighs_a_part_of_the_teachers_gradient_only(loss):
    inputs = logits(4, 5), logits(4, 5), torch.randint(5, (4,))
    found = {
        weight: gradients(loss, *inputs, entropy_grad=weight) for weight in (0.0, 0.25, 0.5, 1.0)
    }
    torch.testing.assert_close(gradients(loss, *inputs), found[0.0])
    without, whole = found[0.0][2], found[1.0][2]
    assert not torch.allclose(without, whole)
    for weight, (value, student, teacher) in found.items():
        torch.testing.assert_close(value, found[0.0][0])
        torch.testing.assert_close(student, found[0.0][1])
        torch.testing.assert_close(teacher, without + weight * (whole - without))


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('reduction', ['batchmean', 'sum', 'none'])
def test_loss_weight_scales_the_loss(loss, reduction):
    s, t = logits(6, 7), logits(6, 7)
    labels = [torch.randint(7, (6,))] if loss is LogSpaceDKDLoss else []
    whole = loss(2.0, reduction=reduction)(s, t, *labels)
    part = loss(2.0, reduction=reduction, loss_weight=0.3)(s, t, *labels)
    torch.testing.assert_close(part, 0.3 * whole)


@pytest.mark.parametrize('teacher_detach', [True, False])
def test_a_detached_teacher_receives_nothing(teacher_detach):
    s, t = logits(4, 5), logits(4, 5)
    LogSpaceKLDivergence(2.0, teacher_detach=teacher_detach)(s, t).backward()
    assert s.grad.abs().sum() > 0
    assert (t.grad is None) is teacher_detach


@pytest.mark.parametrize('loss', ALL_LOSSES)
@pytest.mark.parametrize('half', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('halves', ['student', 'teacher', 'both'])
def test_half_precision_is_lifted_before_anything_is_computed(loss, half, halves):
    """So the values are those of float32, which a GPU's autocast gives too."""
    inputs = [logits(4, 50, scale=8.0).detach().to(half) for _ in range(2)]
    labels = torch.randint(50, (4,))
    value, *_ = gradients(loss, *(z.float() for z in inputs), labels)
    mixed = [
        z if halves in (side, 'both') else z.float()
        for side, z in zip(('student', 'teacher'), inputs, strict=True)
    ]
    found, *sent = gradients(loss, *mixed, labels)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, value, rtol=1e-6, atol=0)
    assert [g.dtype for g in sent] == [z.dtype for z in mixed]


def test_without_the_entropy_the_teacher_sees_soft_cross_entropy():
    s, t = logits(4, 5), logits(4, 5)
    LogSpaceKLDivergence(2.0, entropy_grad=0.0)(s, t).backward()
    t2 = t.detach().clone().requires_grad_()
    (-4.0 * ((t2 / 2).softmax(1) * (s.detach() / 2).log_softmax(1)).sum(1).mean()).backward()
    torch.testing.assert_close(t.grad, t2.grad)


# float16 came to the CPU's autocast later than to the GPU's.
AUTOCAST = [torch.bfloat16]
if Version(torch.__version__) >= Version('2.6'):
    AUTOCAST.append(torch.float16)

# Gaps of 10^3 underflow every probability but one, in any precision.
CONFIDENT = {
    'right and sure': [1e3, 0.0, -1e3],
    'wrong and sure': [-1e3, 1e3, 0.0],
    'target has probability 0, others alike': [-1e3, 0.0, 0.0],
    'uniform': [0.0, 0.0, 0.0],
}


@pytest.mark.parametrize('loss', ALL_LOSSES)
@pytest.mark.parametrize('student', CONFIDENT)
@pytest.mark.parametrize('teacher', CONFIDENT)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('entropy_grad', [0.0, 1.0])
def test_gradients_are_finite_for_confident_logits(loss, student, teacher, dtype, entropy_grad):
    s = torch.tensor([CONFIDENT[student]], dtype=dtype, requires_grad=True)
    t = torch.tensor([CONFIDENT[teacher]], dtype=dtype, requires_grad=True)
    labels = [torch.tensor([0])] if loss is LogSpaceDKDLoss else []
    autocast = dtype if dtype in AUTOCAST else torch.bfloat16
    with torch.autocast('cpu', dtype=autocast, enabled=dtype in AUTOCAST):
        value = loss(1.0, entropy_grad=entropy_grad)(s, t, *labels)
    value.backward()
    assert value.isfinite()
    assert s.grad.isfinite().all()
    assert t.grad.isfinite().all()
    if student == teacher:
        assert value == 0


@pytest.mark.parametrize('tau', TAUS)
def test_binary_kl_equals_the_formula(tau):
    """The mean over samples and locations of the sum over classes."""
    s, t = logits(3, 7, 2), logits(3, 7, 2)
    q, p = (1 / (1 + (-z / tau).exp()) for z in (s, t))
    expected = tau**2 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum(1).mean()
    found = LogSpaceBinaryKLDivergence(tau, loss_weight=0.7)(s, t)
    torch.testing.assert_close(found, 0.7 * expected)


def test_unlikely_classes_are_compared_to_the_precision_of_float32():
    """As the background of a detector, where the terms of a divergence nearly cancel."""
    s, t = (torch.randn(50, 80, 2) - 6 for _ in range(2))
    loss = LogSpaceBinaryKLDivergence()
    for one in range(50):
        pair = s[one : one + 1], t[one : one + 1]
        expected = loss(*(z.double() for z in pair)).float()
        torch.testing.assert_close(loss(*pair), expected, rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    'loss', ['LogSpaceKLDivergence', 'LogSpaceDKDLoss', 'LogSpaceBinaryKLDivergence']
)
@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('tau', 0),
        ('tau', -1.0),
        ('tau', 'hot'),
        ('entropy_grad', 1.5),
        ('entropy_grad', -0.5),
        ('entropy_grad', None),
    ],
)
def test_bad_arguments_are_named(loss, key, value):
    with pytest.raises(ValueError, match=rf'{loss}: {key}={value!r}, expected'):
        MODELS.build({'_scope_': 'mmrazor', 'type': loss, key: value})

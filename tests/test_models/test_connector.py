from itertools import product

import pytest
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode

from skd_mmrazor.models import AttentionSimplifierConnector

FORMS = list(product(('samples', 'classes'), (1, 4), ('log_softmax', 'scale')))
# 2.0 has it for GPUs only.
FUSED_ON_CPU = Version(torch.__version__) >= Version('2.2')
SHAPES = [(1, 10), (7, 10), (2, 10, 4), (2, 10, 3, 5), (2, 10, 2, 3, 2)]


def build(attend_over='samples', num_heads=1, softening='log_softmax', **kwargs):
    arguments = dict(num_classes=10, tau=4.0, embed_dims=16, start_factor=1)
    arguments.update(kwargs)
    return AttentionSimplifierConnector(
        attend_over=attend_over, num_heads=num_heads, softening=softening, **arguments
    ).double()


def attention_by_hand(connector, logits):
    """The class's formula for (N, C) logits, with loops over heads and tokens."""
    y = logits / connector.tau
    if connector.softening == 'log_softmax':
        y = y - y.exp().sum(1, keepdim=True).log()

    def norm(x):
        mean = x.mean(-1, keepdim=True)
        return (x - mean) / ((x - mean) ** 2).mean(-1, keepdim=True).add(1e-5).sqrt()

    def attend(tokens, values):
        out = torch.zeros_like(values)
        q = tokens @ connector.attention.q.weight.T
        k = tokens @ connector.attention.k.weight.T
        d = q.shape[1] // connector.attention.num_heads
        for h in range(connector.attention.num_heads):
            part = slice(h * d, (h + 1) * d)
            for i in range(len(tokens)):
                scores = torch.stack([q[i, part] @ k[j, part] / d**0.5 for j in range(len(tokens))])
                weights = scores.exp() / scores.exp().sum()
                out[i] += sum(w * v for w, v in zip(weights, values, strict=True))
        return out / connector.attention.num_heads

    if connector.attend_over == 'samples':
        mixed = attend(norm(y), y)
    else:
        rows = []
        for row in y:
            embedded = (
                norm(row)[:, None] * connector.attention.score_embedding
                + connector.attention.class_embedding
            )
            rows.append(attend(norm(embedded), row[:, None])[:, 0])
        mixed = torch.stack(rows)
    lam = connector.current_lam
    return logits + connector.tau * ((1 - lam) * y + lam * mixed - y)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('shape', SHAPES)
def test_starts_as_the_identity(form, shape):
    logits = torch.randn(shape, dtype=torch.float64)
    assert torch.equal(build(*form)(logits), logits)
    assert torch.equal(build(*form, start_factor=0.25).eval()(logits), logits)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('shape', SHAPES)
def test_is_the_identity_where_lam_is_zero(form, shape):
    logits = torch.randn(shape, dtype=torch.float64)
    assert torch.equal(build(*form, max_lam=0, learn_lam=False)(logits), logits)


@pytest.mark.parametrize('form', FORMS)
def test_equals_the_formula(form):
    connector = build(*form, learn_lam=False)
    torch.nn.init.normal_(connector.attention.q.weight)
    torch.nn.init.normal_(connector.attention.k.weight)
    logits = torch.randn(5, 10, dtype=torch.float64)
    torch.testing.assert_close(connector(logits), attention_by_hand(connector, logits))


def reach(connector, step):
    """Puts a connector where it is after so many training steps."""
    connector.num_steps.fill_(step)


@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize(
    ('start', 'iters', 'step', 'factor'),
    [
        (0.25, 50, 0, 0.25),
        (0.25, 50, 20, 0.55),
        (0.25, 50, 50, 1),
        (0.25, 50, 130, 1),
        (1, 50, 0, 1),
    ],
)
@pytest.mark.parametrize('shape', [(5, 10), (2, 10, 3, 5)])
def test_softens_less_from_step_to_step(form, start, iters, step, factor, shape):
    connector = build(*form, learn_lam=False, start_factor=start, warmup_iters=iters)
    logits = torch.randn(shape, dtype=torch.float64)
    expected = connector.eval()(factor * logits)
    reach(connector.train(), step)
    assert float(connector.current_factor) == pytest.approx(factor)
    torch.testing.assert_close(connector(logits), expected)
    # Evaluation is as training after the schedule.
    evaluated = connector.eval()(logits)
    assert connector.current_factor == 1
    reach(connector.train(), iters)
    torch.testing.assert_close(evaluated, connector(logits))


def step(connector, records=1):
    """A training step in which several records are simplified."""
    sum(connector(torch.randn(4, 10)).square().sum() for _ in range(records)).backward()


def test_counts_a_training_step_once():
    connector = AttentionSimplifierConnector(10, warmup_iters=4)
    seen = []
    for records in (1, 3, 1, 2, 1, 1):
        seen.append(float(connector.current_factor))
        step(connector, records)
    assert seen == [0.25, 0.4375, 0.625, 0.8125, 1, 1]
    assert connector.num_steps == 6


def test_counts_no_forward_pass_that_trains_nothing():
    connector = AttentionSimplifierConnector(10)
    connector(torch.randn(4, 10))
    with torch.no_grad():
        connector(torch.randn(4, 10))
    connector.eval()
    step(connector)
    assert connector.num_steps == 0


def test_the_count_is_saved_and_loaded_with_the_weights():
    connector, resumed = (AttentionSimplifierConnector(10) for _ in range(2))
    step(connector)
    resumed.load_state_dict(connector.state_dict())
    assert resumed.num_steps == 1


@pytest.mark.parametrize('form', FORMS)
def test_gradients_are_true(form):
    connector = build(*form, embed_dims=4)
    torch.nn.init.constant_(connector.lam_logit, 0.5)
    logits = torch.randn(3, 10, dtype=torch.float64, requires_grad=True)
    parameters = tuple(connector.parameters())
    assert torch.autograd.gradcheck(lambda *_: connector(logits), (logits, *parameters))


def test_nothing_is_softened_twice():
    """What a loss sees after its own division is the simplified distribution."""
    connector = build(learn_lam=False)
    logits = torch.randn(6, 10, dtype=torch.float64)
    y = (logits / connector.tau).log_softmax(1)
    attention = connector.get_attention(logits) @ y
    simplified = (1 - connector.max_lam) * y + connector.max_lam * attention
    seen = (connector(logits) / connector.tau).softmax(1)
    torch.testing.assert_close(seen, simplified.softmax(1))


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
def test_no_parameters_can_erase_the_teacher(attend_over):
    """The change stays within lam times the spread of the softened logits."""
    connector = build(attend_over, max_lam=0.2)
    logits = 10 * torch.randn(8, 10, dtype=torch.float64)
    y = (logits / connector.tau).log_softmax(1)
    for _ in range(20):
        for parameter in connector.parameters():
            torch.nn.init.normal_(parameter, std=100.0)
        assert connector.current_lam.abs() <= 0.2
        change = (connector(logits) - logits) / connector.tau
        assert change.abs().max() <= 0.2 * (y.max() - y.min()) + 1e-9


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
@pytest.mark.parametrize('lam', [-1, 1])
@pytest.mark.parametrize('autocast', [False, True])
def test_a_masked_class_stays_one_and_loses_no_teacher(attend_over, lam, autocast):
    """One class masked to -1e9, in float32; λ at either bound."""
    connector = AttentionSimplifierConnector(10, tau=4, attend_over=attend_over, start_factor=1)
    torch.nn.init.constant_(connector.lam_logit, 20.0 * lam)
    logits = 10 * torch.randn(64, 10)
    logits[:, 3] = -1e9
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        target = connector(logits)
    assert target.isfinite().all()
    assert (target[:, 3] < -1e8).all()
    # The change of any class is at most 0.1 of 30 nats.
    others = [c for c in range(10) if c != 3]
    change = (target - logits)[:, others] / 4
    assert (change.amax(dim=1) - change.amin(dim=1)).max() <= 0.1 * 30 + 1e-4
    margin = logits.topk(2, dim=1).values.diff(dim=1).abs().squeeze(1)
    sure = margin > 4 * 3
    assert sure.any()
    assert (target.argmax(dim=1) == logits.argmax(dim=1))[sure].all()


@pytest.mark.parametrize('form', FORMS)
def test_every_parameter_learns_once_lam_has_moved(form):
    connector = build(*form)
    logits, target = torch.randn(2, 6, 10, dtype=torch.float64)
    for _ in range(2):
        loss = ((connector(logits) - target) ** 2).mean()
        gradients = torch.autograd.grad(loss, list(connector.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(connector.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


def test_classes_do_not_depend_on_the_batch_and_samples_do():
    logits = torch.randn(6, 10, dtype=torch.float64)
    for attend_over, alike in (('classes', True), ('samples', False)):
        connector = build(attend_over, learn_lam=False)
        whole, part = connector(logits)[:3], connector(logits[:3])
        assert torch.allclose(whole, part) is alike


@pytest.mark.parametrize('shape', [(6, 10), (6, 10, 2, 3)])
def test_a_class_is_bounded_by_the_top_of_its_own_sample(shape):
    """And of its own location, however large the logits beside it are."""
    connector = build('classes', softening='scale', learn_lam=False)
    logits = torch.randn(shape, dtype=torch.float64)
    alone = connector(logits)[-1:, ..., -1:]
    logits[:-1] *= 1e4
    if len(shape) > 2:
        logits[..., :-1] *= 1e4
    torch.testing.assert_close(connector(logits)[-1:, ..., -1:], alone)


def test_a_masked_class_is_averaged_as_30_nats():
    connector = build('samples', tau=4.0, max_lam=0.5, learn_lam=False)
    logits = torch.randn(6, 10, dtype=torch.float64)
    logits[0, 3] = -1e9
    y = (logits / 4).log_softmax(dim=1)
    y[0, 3] = -30
    expected = logits + 4 * 0.5 * (connector.get_attention(logits) @ y - y)
    torch.testing.assert_close(connector(logits), expected)


def test_dense_samples_attend_within_their_image():
    connector = build('samples', learn_lam=False)
    logits = torch.randn(2, 10, 3, 5, dtype=torch.float64)
    image = logits[0].flatten(1).T  # its locations as a batch
    torch.testing.assert_close(connector(logits)[0].flatten(1).T, connector(image))


@pytest.mark.parametrize('num_classes', [2, 1000, 21000])
def test_any_number_of_classes(num_classes):
    connector = AttentionSimplifierConnector(num_classes, learn_lam=False)
    out = connector(torch.randn(3, num_classes))
    assert out.shape == (3, num_classes)
    assert out.isfinite().all()


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that an operator makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (list, tuple)) else (result,):
            # An expanded tensor shares its storage.
            if isinstance(value, torch.Tensor):
                size = value.untyped_storage().nbytes() // value.element_size()
                self.numel = max(self.numel, size)
        return result


@pytest.mark.parametrize(
    ('attend_over', 'shape', 'limit'),
    [
        # The projections' weights are larger than these logits.
        ('samples', (8, 21000), 64 * 21000),
        ('samples', (128, 21000), 128 * 21000),
        # Four heads of 16, and no more for each class; the weights would be 4 * 1000 * 1000.
        ('classes', (2, 1000), 2 * 1000 * 64),
        # Four heads, and at most 64 keys for each location.
        ('samples', (1, 19, 40, 40), 4 * 64 * 1600),
    ],
)
def test_memory_is_linear_in_the_classes_and_in_the_locations(attend_over, shape, limit):
    if not FUSED_ON_CPU:
        pytest.skip('torch has no fused attention on a CPU')
    connector = AttentionSimplifierConnector(shape[1], attend_over=attend_over, num_heads=4)
    logits = torch.randn(shape)
    with Largest() as largest:
        connector(logits).sum().backward()
    assert largest.numel <= limit


def test_fused_attention_never_gets_more_rows_than_a_gpu_takes(monkeypatch):
    """Those of CUDA take 65,535 before torch 2.7; a large map has more locations."""
    fused, rows = F.scaled_dot_product_attention, []

    def count(q, *args):
        rows.append(len(q))
        return fused(q, *args)

    monkeypatch.setattr(F, 'scaled_dot_product_attention', count)
    connector = AttentionSimplifierConnector(2, attend_over='classes', embed_dims=1, num_heads=1)
    connector.eval()(torch.randn(1, 2, 70, 1000))
    assert sum(rows) == 70000
    assert max(rows) <= 65535


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_half_precision_logits_are_simplified_in_float32(dtype):
    connector = AttentionSimplifierConnector(10, learn_lam=False, start_factor=1)
    logits = torch.randn(5, 10).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = connector(logits)
    assert out.dtype is torch.float32
    torch.testing.assert_close(out, connector(logits.float()))


@pytest.mark.parametrize('cast', ['half', 'bfloat16'])
def test_parameters_in_half_precision_are_refused(cast):
    connector = getattr(AttentionSimplifierConnector(10), cast)()
    with pytest.raises(ValueError, match=r'expected float32.*AmpOptimWrapper'):
        connector(torch.randn(2, 10))


@pytest.mark.parametrize('shape', [(10,), (2, 3, 10), (2, 11), (0, 10), (2, 4, 4, 10)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r'shape of the teacher logits=.* expected \(N, 10\)'):
        AttentionSimplifierConnector(10)(torch.randn(shape))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_logits_that_are_not_finite_are_refused(value):
    logits = torch.randn(2, 10)
    logits[1, 3] = value
    with pytest.raises(ValueError, match='NaN or Inf'):
        AttentionSimplifierConnector(10)(logits)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('num_classes', 1),
        ('num_classes', '10'),
        ('tau', 0),
        ('tau', -4.0),
        ('tau', float('nan')),
        ('tau', 'hot'),
        ('max_lam', -0.1),
        ('max_lam', 1),
        ('max_lam', None),
        ('embed_dims', 63),
        ('embed_dims', 0),
        ('learn_lam', 'yes'),
        ('attend_over', 'pixels'),
        ('softening', 'softmax'),
        ('start_factor', 0),
        ('start_factor', 1.5),
        ('start_factor', '0.25'),
        ('warmup_iters', 0),
        ('warmup_iters', 0.25),
        ('warmup_iters', '1000'),
    ],
)
def test_bad_arguments_are_named(key, value):
    cfg = dict(type='mmrazor.AttentionSimplifierConnector', num_classes=10, num_heads=2)
    cfg[key] = value
    with pytest.raises(
        ValueError, match=f'AttentionSimplifierConnector: {key}={value!r}, expected'
    ):
        MODELS.build(cfg)


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
@pytest.mark.parametrize('softening', ['log_softmax', 'scale'])
def test_the_attention_that_is_shown_is_the_one_that_is_used(attend_over, softening):
    """Mixing by hand, with the weights that a picture shows, gives the same target."""
    simplifier = AttentionSimplifierConnector(
        10,
        tau=4,
        num_heads=2,
        max_lam=0.5,
        learn_lam=False,
        start_factor=1,
        attend_over=attend_over,
        softening=softening,
    ).double()
    torch.nn.init.normal_(simplifier.attention.k.weight, std=0.3)
    logits = 5 * torch.randn(6, 10, dtype=torch.float64)
    soft = logits / 4 if softening == 'scale' else (logits / 4).log_softmax(dim=1)
    attention = simplifier.get_attention(logits)
    mixed = attention @ soft if attend_over == 'samples' else (attention @ soft[..., None])[..., 0]
    assert torch.allclose(attention.sum(dim=-1), torch.ones(()).double())
    assert torch.allclose(simplifier(logits), logits + 4 * 0.5 * (mixed - soft))


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
@pytest.mark.parametrize(('num_classes', 'num_heads'), [(10, 1), (10, 4), (100, 4)])
def test_at_the_start_each_token_attends_to_its_like(attend_over, num_classes, num_heads):
    """And of two that are alike, to both the same: queries and keys start alike."""
    simplifier = AttentionSimplifierConnector(
        num_classes, attend_over=attend_over, num_heads=num_heads
    ).double()
    logits = torch.randn(6, num_classes, dtype=torch.float64)
    logits[5] = logits[0]
    attention = simplifier.get_attention(logits)
    if attend_over == 'samples':
        alike = attention[[0, 0, 5, 5], [0, 5, 0, 5]]
        torch.testing.assert_close(alike, alike[:1].expand(4))
        attention = simplifier.get_attention(logits[:5])
    weights = attention.diagonal(dim1=-2, dim2=-1)
    others = attention - torch.diag_embed(weights)
    assert (weights > others.amax(dim=-1)).all(), 'to itself more than to any other'
    assert weights.mean() > 0.5

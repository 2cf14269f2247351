"""The simplifier starts as the identity, and computes what its formula says."""

import pytest
import torch

from skd_mmrazor.models import AttentionSimplifierConnector

from .connectors import FORMS, build

SHAPES = [(1, 10), (7, 10), (2, 10, 4), (2, 10, 3, 5), (2, 10, 2, 3, 2)]


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


def test_dense_samples_attend_within_their_image():
    connector = build('samples', learn_lam=False)
    logits = torch.randn(2, 10, 3, 5, dtype=torch.float64)
    image = logits[0].flatten(1).T  # its locations as a batch
    torch.testing.assert_close(connector(logits)[0].flatten(1).T, connector(image))


@pytest.mark.parametrize('attend_over', ['samples', 'classes'])
@pytest.mark.parametrize('softening', ['log_softmax', 'scale'])
@pytest.mark.parametrize('factor', [0.25, 1])
def test_the_attention_that_is_shown_is_the_one_that_is_used(attend_over, softening, factor):
    """Mixing by hand, with the weights that a picture shows, gives the same target."""
    simplifier = AttentionSimplifierConnector(
        10,
        tau=4,
        num_heads=2,
        max_lam=0.5,
        learn_lam=False,
        start_factor=factor,
        attend_over=attend_over,
        softening=softening,
    ).double()
    torch.nn.init.normal_(simplifier.attention.k.weight, std=0.3)
    logits = 5 * torch.randn(6, 10, dtype=torch.float64)
    softer = factor * logits
    soft = softer / 4 if softening == 'scale' else (softer / 4).log_softmax(dim=1)
    attention = simplifier.get_attention(logits)
    mixed = attention @ soft if attend_over == 'samples' else (attention @ soft[..., None])[..., 0]
    assert torch.allclose(attention.sum(dim=-1), torch.ones(()).double())
    assert torch.allclose(simplifier(logits), softer + 4 * 0.5 * (mixed - soft))


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

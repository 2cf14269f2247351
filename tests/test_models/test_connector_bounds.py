"""The simplified target stays near the teacher's, whatever the logits and the parameters."""

import pytest
import torch

from skd_mmrazor.models import AttentionSimplifierConnector

from .connectors import build


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


@pytest.mark.parametrize('parameter', [-3.0, 3.0])
def test_lam_can_always_return_from_its_bound(parameter):
    """It comes near, with a gradient that does not vanish."""
    connector = build(max_lam=0.2)
    torch.nn.init.constant_(connector.lam_logit, parameter)
    connector.current_lam.backward()
    assert 0.19 < connector.current_lam.abs() < 0.2
    assert connector.lam_logit.grad > 1e-3


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

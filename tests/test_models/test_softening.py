"""The teacher's logits are softened less from step to step, and each step counts once."""

import pytest
import torch

from skd_mmrazor.models import AttentionSimplifierConnector

from .connectors import FORMS, build


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


def test_a_count_that_was_loaded_counts_on_another_device_too():
    connector = AttentionSimplifierConnector(10)
    connector(torch.randn(4, 10))
    connector.load_state_dict({**connector.state_dict(), 'num_steps': torch.tensor(500)})
    connector._apply(torch.clone)  # As .cuda() does, to a buffer of as many changes.
    assert connector.current_factor == 0.25 + 0.75 * 0.5
    step(connector)
    assert connector.num_steps == 501
    assert connector.current_factor == 0.25 + 0.75 * 0.501

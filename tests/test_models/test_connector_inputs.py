"""The simplifier takes any number of classes and locations, and refuses other inputs by name."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from packaging.version import Version
from torch.utils._python_dispatch import TorchDispatchMode

from skd_mmrazor.models import AttentionSimplifierConnector

# 2.0 has it for GPUs only.
FUSED_ON_CPU = Version(torch.__version__) >= Version('2.2')


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
    shown = connector.get_attention(logits)
    torch.testing.assert_close(shown, connector.get_attention(logits.float()))


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


def test_only_the_first_logits_are_checked():
    """Each check makes a GPU wait."""
    connector = AttentionSimplifierConnector(10)
    connector(torch.randn(2, 10))
    assert connector(torch.full((2, 10), float('nan'))).isnan().all()


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    ('shape', 'is_alone'),
    [((1, 10), True), ((4, 10, 1, 1), True), ((4, 10), False), ((1, 10, 2, 1), False)],
)
def test_a_sample_without_another_is_warned_of_in_training(shape, is_alone, training):
    """The samples of a map are its locations."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        AttentionSimplifierConnector(10).train(training)(torch.randn(shape))
    told = ['the only sample of a batch' in str(warning.message) for warning in found]
    assert any(told) is (is_alone and training)


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


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ((0, 5, 4, 4), r'\(N, 5\) or \(N, 5, \.\.\.\), with N > 0'),
        ((2, 4, 4, 4), r'\(N, 5\) or \(N, 5, \.\.\.\), with N > 0'),
        ((2, 45, 4, 4), "record_idx='all' tells the anchors of a detector apart"),
    ],
)
def test_anchors_are_told_apart_from_other_shapes(shape, message):
    simplifier = AttentionSimplifierConnector(num_classes=5)
    with pytest.raises(ValueError, match=message):
        simplifier(torch.zeros(shape))

"""Checks of the logits that a simplifier receives."""

import warnings
from typing import Any

import torch
from torch import Tensor

from ...utils import expect


def check_logits(simplifier: Any, logits: Any) -> None:
    """Checks a batch of logits, and warns of a sample without another to learn from.

    Args:
        simplifier (AttentionSimplifierConnector): The simplifier.
        logits (Tensor): What it received.

    Raises:
        ValueError: Its parameters were cast to half precision, or the logits are not
            (N, C) or (N, C, ...) with N > 0, or not finite.
    """
    name, dtype = type(simplifier).__name__, simplifier.attention.q.weight.dtype
    expected = 'float32: train with AmpOptimWrapper (--amp) instead of casting the model'
    expect(dtype not in (torch.float16, torch.bfloat16), f'{name}: dtype', dtype, expected)
    classes = simplifier.num_classes
    found: Any = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    expected = (
        f'(N, {classes}) or (N, {classes}, ...), with N > 0: data_idx in the mapping chooses one '
        "of several outputs, and record_idx='all' tells the anchors of a detector apart; where the "
        'classes are last, a connector in both mappings moves them by logits.flatten(0, -2)'
    )
    valid = found[1:2] == (classes,) and 0 not in found
    expect(valid, f'{name}: the shape of the teacher logits', found, expected)
    expected = (
        "finite numbers: are the teacher's checkpoint and its inputs sound? Mask a class by a "
        'finite number of the precision in use, such as -1e4, not by -inf'
    )
    # The extremes are NaN where any value is, and cost less than all of isfinite.
    finite = bool(logits.amin().isfinite() & logits.amax().isfinite())
    expect(finite, f'{name}: the teacher logits', 'NaN or Inf', expected)
    learns = simplifier.training and simplifier.lam_logit is not None
    # One sample, or maps of one location.
    is_alone = logits[0, 0].numel() == 1 and (logits.dim() > 2 or len(logits) == 1)
    if learns and is_alone and simplifier.attend_over == 'samples':
        warnings.warn(
            f'{name}: λ cannot learn from the only sample of a batch, whose average is '
            "itself; use a larger batch, or attend_over='classes'.",
            stacklevel=3,
        )

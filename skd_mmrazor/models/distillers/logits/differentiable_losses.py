"""Losses of mmrazor made differentiable in the teacher's logits."""

import contextlib
import warnings
from inspect import signature
from typing import Any

import torch
from mmrazor.models import losses
from torch import nn

from ....utils import error_context, expect
from ...losses import LogSpaceDKDLoss, LogSpaceKLDivergence

_LOG_SPACE = {losses.KLDivergence: LogSpaceKLDivergence, losses.DKDLoss: LogSpaceDKDLoss}


def make_differentiable(name: str, loss: Any, entropy_grad: float) -> nn.Module:
    """Makes a loss differentiable with respect to the teacher's logits.

    Args:
        name (str): The loss's name in ``distill_losses``, for messages.
        loss (nn.Module): The loss of the config.
        entropy_grad (float): See :class:`LogSpaceKLDivergence`.

    Returns:
        nn.Module: ``loss``, or a :class:`LogSpaceKLDivergence` or
        :class:`LogSpaceDKDLoss` of equal value.

    Raises:
        ValueError: An argument of the loss contradicts ``entropy_grad`` or has no
            log-space equivalent.
    """
    key = f'distiller.distill_losses.{name}'
    detach = getattr(loss, 'teacher_detach', False)
    expect(isinstance(detach, bool), f'{key}.teacher_detach', detach, 'True or False')
    if log_space := _LOG_SPACE.get(type(loss)):
        keys = signature(log_space).parameters
        arguments = {key: getattr(loss, key) for key in keys if hasattr(loss, key)}
        if type(loss) is losses.DKDLoss and loss.reduction in ('mean', 'none'):
            arguments['reduction'] = 'sum'
            warnings.warn(
                f"{key}: mmrazor's DKDLoss sums over the batch for reduction={loss.reduction!r}, "
                "and so does SKD; type='LogSpaceDKDLoss' divides by the batch, as DKD's paper does "
                '(docs/known_issues.md, 13).',
                stacklevel=2,
            )
        with error_context(key, arguments, f'arguments of {log_space.__name__}'):
            replacement = log_space(**arguments)
        # A fork of mmrazor may compute something else under the same name.
        loss = replacement if _is_equal(loss, replacement) else loss
    if type(loss) is losses.ChannelWiseDivergence:
        loss.register_forward_pre_hook(_make_contiguous, with_kwargs=True)
    if hasattr(loss, 'teacher_detach'):
        loss.teacher_detach = False
    if entropy_grad and hasattr(loss, 'entropy_grad'):
        own, expected = loss.entropy_grad, f'{entropy_grad}, as distiller.entropy_grad'
        expect(own in (0, entropy_grad), f'{key}.entropy_grad', own, expected)
        loss.entropy_grad = entropy_grad
    return loss


def _make_contiguous(loss: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict]:
    """Copies maps in channels_last, as SegFormer's, of which CWD cannot take a view."""
    return args, {key: maps.contiguous() for key, maps in kwargs.items()}


def _is_equal(loss: nn.Module, replacement: nn.Module) -> bool:
    """Whether two losses have the same value for some logits and labels."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    labels = [torch.arange(4)] if isinstance(loss, losses.DKDLoss) else []
    with contextlib.suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found, expected = (x(student, teacher, *labels) for x in (loss, replacement))
        return torch.allclose(found, expected, atol=0)
    return False

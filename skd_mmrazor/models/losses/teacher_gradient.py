"""Which losses pass a gradient to the teacher, and how the others come to."""

import copy
import warnings
from typing import Any

import torch
from mmrazor.models import losses as mmrazor_losses
from torch import Tensor, nn

from ...utils import expect, naming
from .log_space_dkd_loss import LogSpaceDKDLoss
from .log_space_kl_divergence import LogSpaceKLDivergence

# The argument of ``forward`` that takes the teacher's logits. Exact types: a
# subclass may do something else with its arguments.
TEACHER_LOGITS: dict[type[nn.Module], str] = {
    LogSpaceDKDLoss: 'preds_T',
    LogSpaceKLDivergence: 'preds_T',
    mmrazor_losses.ChannelWiseDivergence: 'preds_T',
    mmrazor_losses.CrossEntropyLoss: 'preds_T',
    mmrazor_losses.DISTLoss: 'logits_T',
    mmrazor_losses.DKDLoss: 'preds_T',
    mmrazor_losses.KDSoftCELoss: 'preds_T',
    mmrazor_losses.KLDivergence: 'preds_T',
    mmrazor_losses.WSLD: 'teacher',
}

# The same of losses of features, which take logits where they are given some.
TEACHER_FEATURES: dict[type[nn.Module], str] = {
    mmrazor_losses.L1Loss: 't_feature',
    mmrazor_losses.L2Loss: 't_feature',
}


def pass_gradient_to_teacher(name: str, loss: Any, entropy_grad: float) -> nn.Module:
    """Gives a loss of equal value whose gradient reaches the teacher.

    Args:
        name (str): The loss's name in ``distill_losses``, for messages.
        loss (nn.Module): The loss that the config asked for.
        entropy_grad (float): See :class:`LogSpaceKLDivergence`.

    Returns:
        nn.Module: ``loss`` itself where it can be switched, else its log-space
        twin.

    Raises:
        ValueError: An argument of the loss is wrong, or contradicts
            ``entropy_grad``.
    """
    key = f'distiller.distill_losses.{name}'
    detach = getattr(loss, 'teacher_detach', False)
    expect(isinstance(detach, bool), f'{key}.teacher_detach', detach, 'True or False')
    with naming(key, type(loss).__name__, 'sound arguments'):
        if type(loss) is mmrazor_losses.KLDivergence:
            return LogSpaceKLDivergence(
                loss.tau, loss.reduction, loss.loss_weight, entropy_grad=entropy_grad
            )
        if type(loss) is mmrazor_losses.DKDLoss:
            return _log_space_dkd(name, loss, entropy_grad)
    if hasattr(loss, 'teacher_detach'):
        loss.teacher_detach = False
    if isinstance(loss, (LogSpaceKLDivergence, LogSpaceDKDLoss)) and entropy_grad:
        own = loss.entropy_grad
        expected = f'{entropy_grad}, as distiller.entropy_grad says'
        expect(own in (0, entropy_grad), f'{key}.entropy_grad', own, expected)
        loss.entropy_grad = entropy_grad
    return loss


def _log_space_dkd(name: str, loss: Any, entropy_grad: float) -> LogSpaceDKDLoss:
    reduction = loss.reduction
    if reduction in ('mean', 'none'):
        warnings.warn(
            f"distiller.distill_losses.{name}: mmrazor's DKDLoss sums over the batch for "
            f'reduction={reduction!r} (docs/known_issues.md, 13). SKD keeps that weight by '
            "type='LogSpaceDKDLoss', reduction='sum'; write type='LogSpaceDKDLoss' in the config "
            "to divide by the batch, as DKD's paper does.",
            stacklevel=2,
        )
        reduction = 'sum'
    return LogSpaceDKDLoss(
        loss.tau, loss.alpha, loss.beta, reduction, loss.loss_weight, entropy_grad
    )


def check_gradient(
    name: str, loss: nn.Module, arguments: list[str], teacher: str, num_classes: int
) -> bool:
    """Tries a loss on random logits and refuses it if SKD could not train.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss.
        arguments (list[str]): All arguments that it will be called with.
        teacher (str): The one that takes the teacher's logits.
        num_classes (int): Number of classes.

    Returns:
        bool: Whether the loss could be tried. One that takes other things than
        logits and labels could not: the first training step is then its test.

    Raises:
        ValueError: The teacher's logits would get no gradient, or NaN or Inf; or
            a loss of mmrazor cannot be computed, which may be a TypeError too.
    """
    for shape in ((4, num_classes), (4, num_classes, 2, 2)):
        inputs = {
            argument: torch.randint(num_classes, (4,))
            if 'label' in argument
            else torch.randn(shape, requires_grad=True)
            for argument in arguments
        }
        try:
            value = copy.deepcopy(loss).cpu()(**inputs)
        except Exception as error:
            failure = error
            continue
        raise_without_gradient(name, loss, value, inputs[teacher], teacher)
        return True
    if type(loss) in TEACHER_LOGITS:
        key = f'distiller.distill_losses.{name}'
        with naming(key, type(loss).__name__, 'arguments with which it can be computed'):
            raise failure
    return False


def raise_without_gradient(
    name: str, loss: nn.Module, value: Tensor, logits: Tensor, teacher: str
) -> None:
    """Refuses a loss whose value does not depend on the teacher's logits.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss, for the message.
        value (Tensor): What it returned.
        logits (Tensor): What it got as the teacher's logits.
        teacher (str): The argument that it got them by.

    Raises:
        ValueError: The gradient is missing, or 0, or has NaN or Inf in it.
    """
    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), logits, retain_graph=True, allow_unused=True)
    got = ''
    if gradient is None:
        got = 'no gradient (it is detached, or an argmax)'
    elif not torch.isfinite(gradient).all():
        got = 'NaN or Inf'
    # Only of mmrazor's losses is it known that they have no flat parts.
    elif type(loss) in TEACHER_LOGITS and loss.loss_weight != 0 and not gradient.any():
        got = 'a gradient of 0'
    if got:
        raise ValueError(
            f'distiller.distill_losses.{name}: {type(loss).__name__} passes {got} to its argument '
            f'{teacher!r}, expected a finite gradient: the simplifier of SKD learns from nothing '
            f'else. Take another loss, or leave {name!r} out of distiller.simplify.'
        )

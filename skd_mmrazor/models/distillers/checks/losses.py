"""Checks that a loss trains the student and the simplifier."""

import copy
from inspect import signature
from typing import Any

import torch
from mmrazor.models.losses import ChannelWiseDivergence
from torch import Tensor, nn

from ....utils import error_context, expect, is_number
from ..logits.known_losses import KNOWN, LOGITS, get_pair
from ..pyramids import get_loss


def check_losses(distiller: Any) -> None:
    """Makes sure that the losses have sound arguments, and that SKD can train by the chosen.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen.

    Raises:
        ValueError: As of :func:`_check_numbers` and :func:`_check_mapping`.
    """
    for name, loss in distiller.distill_losses.items():
        _check_numbers(name, loss)
    for name, argument in distiller.simplified_losses.items():
        _check_mapping(distiller, name, argument)


def _check_mapping(distiller: Any, name: str, argument: Any) -> None:
    """Makes sure that a loss trains the student and its simplifier by an argument.

    Args:
        distiller (SKDDistiller): The distiller.
        name (str): Name of the loss.
        argument (str): Its argument that takes the teacher's logits.

    Raises:
        ValueError: There is no such loss or argument, it receives the other model's
            logits, or the loss is not minimised.
    """
    mappings, key = distiller.loss_forward_mappings, 'distiller.simplified_losses'
    expect(name in mappings, key, name, f'a loss of loss_forward_mappings: {list(mappings)}')
    mapping = mappings[name]
    known = isinstance(argument, str) and argument in mapping
    expect(known, f'{key}.{name}', argument, f'an argument of that loss: {list(mapping)}')
    for side, (fed, entry) in get_pair(mapping, argument).items():
        is_student = side == 'student'
        found = entry.get('from_student', is_student)
        key = f'distiller.loss_forward_mappings.{name}.{fed}.from_student'
        expected = f'{is_student}: the logits of the {side}; simplified_losses chooses the losses'
        expect(found is is_student, key, found, expected)
    expected = "a name with 'loss' in it: mmengine optimises no other, and SKD would not train"
    expect('loss' in name, 'distiller.distill_losses', name, expected)
    weight = getattr(distiller.distill_losses[name], 'loss_weight', 1)
    key = f'distiller.distill_losses.{name}.loss_weight'
    expected = 'at least 0: SKD is for the distiller that trains the student, not a generator'
    expect(not is_number(weight) or weight >= 0, key, weight, expected)


def _check_numbers(name: str, loss: nn.Module) -> None:
    """Makes sure that the numeric arguments of a loss of mmrazor or ours are finite numbers.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss.

    Raises:
        ValueError: An argument whose default is a number is not a finite number.
    """
    for argument, parameter in signature(type(loss).__init__).parameters.items():
        value = getattr(loss, argument, parameter.default)
        valid = is_number(value) or not is_number(parameter.default)
        key = f'distiller.distill_losses.{name}.{argument}'
        is_users = type(loss).__module__.split('.')[0] not in ('mmrazor', 'skd_mmrazor')
        expect(valid or is_users, key, value, 'a finite number')


def check_loss(distiller: Any, name: str, num_classes: int) -> bool:
    """Tries a loss on random logits, and refuses it if SKD could not train.

    Args:
        distiller (SKDDistiller): The distiller.
        name (str): The loss's name in ``distill_losses``.
        num_classes (int): Number of classes.

    Returns:
        bool: Whether it could be computed. A loss of the user's own may take other
        things than logits and labels: it is then checked in the first step.

    Raises:
        ValueError: A loss of mmrazor cannot be computed, or as of
            :func:`check_gradient`.
    """
    loss, mapping = distiller.distill_losses[name], distiller.loss_forward_mappings[name]
    shape = (4, num_classes, 2, 2) if isinstance(loss, ChannelWiseDivergence) else (4, num_classes)
    inputs = {
        argument: torch.randint(num_classes, (4,))
        if 'label' in argument and argument != distiller.simplified_losses[name]
        else torch.randn(shape, requires_grad=True)
        for argument in mapping
    }
    with error_context(f'distiller.distill_losses.{name}', mapping, 'a loss of logits and labels'):
        try:
            value = copy.deepcopy(loss).cpu()(**inputs)
        except Exception:
            if type(loss) in KNOWN:
                raise
            return False
    check_gradient(distiller, name, value, inputs[distiller.simplified_losses[name]])
    return True


def check_gradient(distiller: Any, name: str, value: Any, logits: Tensor) -> None:
    """Refuses a loss whose value does not depend on the teacher's logits.

    Args:
        distiller (SKDDistiller): The distiller.
        name (str): The loss's name in ``distill_losses``.
        value (Tensor | list[Tensor]): The value of the loss.
        logits (Tensor): The teacher's logits that the loss received.

    Raises:
        ValueError: The value is not a tensor, or the gradient is missing, 0, or has NaN
            or Inf in it.
    """
    loss, key = get_loss(distiller, name), f'distiller.distill_losses.{name}'
    simplified = dict(distiller.simplified_losses)
    argument = simplified.pop(name)
    values = value if isinstance(value, list) and value else [value]
    are_tensors = all(isinstance(value, Tensor) for value in values)
    expected = 'a tensor or a list of tensors, which mmengine adds to the objective'
    expect(are_tensors, f'{key}: what it returns', type(value).__name__, expected)
    gradient, total = None, sum(value.sum() for value in values)
    if total.requires_grad:
        (gradient,) = torch.autograd.grad(total, logits, retain_graph=True, allow_unused=True)
    # Only mmrazor's losses are known to have a gradient almost everywhere.
    may_be_zero = type(loss) not in LOGITS or loss.loss_weight == 0
    valid = gradient is not None and gradient.isfinite().all() and (may_be_zero or gradient.any())
    found = 'none' if gradient is None else f'of a sum of {gradient.abs().sum():g}'
    expected = 'a finite one (a loss that detaches the teacher or takes its argmax has none)'
    expected += f', or distiller.simplified_losses={simplified}' * bool(simplified)
    key += f': gradient of {type(loss).__name__} to its {argument}'
    expect(bool(valid), key, found, expected)

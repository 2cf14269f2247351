"""Checks that the losses train the student and the simplifier, and that both can be computed."""

import copy
import warnings
from inspect import signature
from typing import Any

import torch
from mmrazor.models.losses import ChannelWiseDivergence
from torch import Tensor

from ....utils import error_context, expect, is_number
from ...losses.log_space_kl_divergence import check_tau
from ..logits.known_losses import LOGITS, TEMPERATURES, get_pair
from ..pyramids import get_loss


def check_losses(distiller: Any) -> None:
    """Makes sure that the losses have sound numbers, and that SKD can train by the chosen.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen.

    Raises:
        ValueError: A number of a loss of mmrazor or ours is not finite. Or there is no
            chosen loss or argument of that name, it receives the other model's logits,
            or the loss is not minimised.
    """
    losses, mappings = distiller.distill_losses, distiller.loss_forward_mappings
    for name, loss in losses.items():
        is_users = type(loss).__module__.split('.')[0] not in ('mmrazor', 'skd_mmrazor')
        for argument, parameter in signature(type(loss).__init__).parameters.items():
            value = getattr(loss, argument, parameter.default)
            valid = is_users or is_number(value) or not is_number(parameter.default)
            key = f'distiller.distill_losses.{name}.{argument}'
            expect(valid, key, value, 'a finite number')
            # In a loss of the user's own that is not simplified, T may be anything.
            is_known = not is_users or name in distiller.simplified_losses
            if is_known and argument in TEMPERATURES and is_number(value):
                check_tau(key, value)
    for name, argument in distiller.simplified_losses.items():
        key, expected = 'distiller.simplified_losses', 'a loss of loss_forward_mappings: '
        expect(name in mappings, key, name, f'{expected}{list(mappings)}')
        found = list(mappings[name])
        expect(argument in found, f'{key}.{name}', argument, f'an argument of that loss: {found}')
        for side, (fed, entry) in get_pair(mappings[name], argument).items():
            is_student = side == 'student'
            found = entry.get('from_student', is_student)
            key = f'distiller.loss_forward_mappings.{name}.{fed}.from_student'
            expected = f'{is_student}: the logits of the {side}; simplified_losses chooses losses'
            expect(found is is_student, key, found, expected)
        expected = "a name with 'loss' in it: mmengine optimises no other, and SKD would not train"
        expect('loss' in name, 'distiller.distill_losses', name, expected)
        weight = getattr(losses[name], 'loss_weight', 1)
        expected = 'at least 0: SKD is for the distiller that trains the student, not a generator'
        valid = not is_number(weight) or weight >= 0
        expect(valid, f'distiller.distill_losses.{name}.loss_weight', weight, expected)


def check_simplifier(simplifier: Any, num_classes: int) -> None:
    """Tries a simplifier on random logits.

    Args:
        simplifier (nn.Module): The simplifier.
        num_classes (int): Number of classes.

    Raises:
        ValueError: It cannot be called, writes into its input, or does not return
            finite logits of the same shape.

    Warns where its parameters cannot learn.
    """
    key, name = 'distiller.simplifier', type(simplifier).__name__
    tau = getattr(simplifier, 'tau', None)
    expect(is_number(tau), f'{key}.tau', tau, f'a number as an attribute of {name}')
    with error_context(key, name, f'a function of logits of shape (N, {num_classes})'):
        logits = torch.randn(4, num_classes)
        out = copy.deepcopy(simplifier)(logits)
    are_logits = isinstance(out, Tensor) and out.shape == logits.shape
    # Other losses read the input as it is, and so do the statistics.
    sound = are_logits and bool(out.isfinite().all()) and logits._version == 0
    expected = 'that its outputs are finite logits, and that it does not write into its input'
    expect(sound, key, f'{name} with tau={tau}', expected)
    if not out.requires_grad and any(p.requires_grad for p in simplifier.parameters()):
        warnings.warn(f'{key}: {name} cannot learn: its outputs are detached.', stacklevel=2)


def check_loss(distiller: Any, name: str, num_classes: int) -> bool:
    """Tries a loss on random logits, and refuses it if SKD could not train.

    Args:
        distiller (SKDDistiller): The distiller.
        name (str): The loss's name in ``distill_losses``.
        num_classes (int): Number of classes.

    Returns:
        bool: Whether it could be computed. A loss may take other things than logits and
        labels: it is then checked in the first step.

    Raises:
        ValueError: As of :func:`check_gradient`.
    """
    mapping, argument = distiller.loss_forward_mappings[name], distiller.simplified_losses[name]
    loss = distiller.distill_losses[name]
    shape = (4, num_classes, 2, 2) if isinstance(loss, ChannelWiseDivergence) else (4, num_classes)
    inputs = {key: torch.randn(shape, requires_grad=True) for key in mapping}
    labels = [key for key in mapping if 'label' in key and key != argument]
    inputs.update((key, torch.randint(num_classes, (4,))) for key in labels)
    try:
        value = copy.deepcopy(loss).cpu()(**inputs)
    except Exception:
        return False
    check_gradient(distiller, name, value, inputs[argument])
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
    expected = 'a tensor or a list of tensors, which mmengine adds to the objective'
    gradient = None
    with error_context(f'{key}: what it returns', type(value).__name__, expected):
        total = sum(x.sum() for x in (value if isinstance(value, list) else [value]))
        is_trained = total.requires_grad
    if is_trained:
        (gradient,) = torch.autograd.grad(total, logits, retain_graph=True, allow_unused=True)
    # Only mmrazor's losses are known to have a gradient almost everywhere.
    may_be_zero = type(loss) not in LOGITS or loss.loss_weight == 0
    valid = gradient is not None and gradient.isfinite().all() and (may_be_zero or gradient.any())
    found = 'none' if gradient is None else f'of a sum of {gradient.abs().sum():g}'
    expected = 'a finite one (a loss that detaches the teacher or takes its argmax has none)'
    others = {key: x for key, x in distiller.simplified_losses.items() if key != name}
    expected += f', or distiller.simplified_losses={others}' * bool(others)
    key += f': gradient of {type(loss).__name__} to its {distiller.simplified_losses[name]}'
    expect(bool(valid), key, found, expected)

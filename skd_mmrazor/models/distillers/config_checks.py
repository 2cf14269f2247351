"""Mistakes in a config of SKD that would otherwise be silent."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from mmrazor.models.architectures.connectors import BYOTConnector
from mmrazor.models.distillers import BYOTDistiller, OFDDistiller
from mmrazor.models.losses import OFDLoss
from torch import Tensor, nn

from ...utils import error_context, expect, is_number
from ..losses.log_space_kl_divergence import check_tau
from .logit_losses import SIDES, STUDENT_ARGUMENT

# Methods that need a distiller of their own, and that distiller with SKD.
_OWN_DISTILLERS = (
    (OFDLoss, OFDDistiller, 'SKDOFDDistiller'),
    (BYOTConnector, BYOTDistiller, 'SKDBYOTDistiller'),
)


def check_parts(distiller: Any) -> None:
    """Checks the losses, connectors and deliveries of a distiller.

    Warns of losses that are not computed.

    Args:
        distiller (SKDDistiller): Its parts have been built.

    Raises:
        ValueError: A part needs another distiller, a delivery has no source, or no
            loss reads the student.
    """
    for part in (*distiller.distill_losses.values(), *distiller.connectors.values()):
        for kind, base, name in _OWN_DISTILLERS:
            valid = isinstance(distiller, base) or not isinstance(part, kind)
            expected = f'{name!r} beside a {kind.__name__}'
            expect(valid, 'distiller.type', type(distiller).__name__, expected)
    deliveries = distiller.deliveries
    names, expected = list(deliveries.deliveries), 'functions and methods that exist'
    with error_context('distiller.distill_deliveries', names, expected), deliveries:
        pass
    mappings = distiller.loss_forward_mappings
    # mmrazor's config of factor transfer inherits one.
    for loss in [name for name in distiller.distill_losses if name not in mappings]:
        warnings.warn(
            f'distiller.distill_losses.{loss} is not computed: it has no entry in '
            f'loss_forward_mappings, which has {list(mappings)}.',
            stacklevel=3,
        )
    records = [record for mapping in mappings.values() for record in mapping.values()]
    valid = not records or any(record.get('from_student') for record in records)
    expected = "a loss with 'from_student=True': SKD is for the distiller that trains the student"
    expect(valid, 'distiller.loss_forward_mappings', mappings, expected)


def check_simplified_loss(distiller: Any, name: str, argument: Any) -> None:
    """Makes sure that a loss trains the student and its simplifier by an argument.

    Args:
        distiller (SKDDistiller): Has been built.
        name (str): Name of the loss.
        argument (str): Its argument that takes the teacher's logits.

    Raises:
        ValueError: There is no such loss or argument, the wrong model feeds it, or
            the loss is not minimised.
    """
    mappings, key = distiller.loss_forward_mappings, 'distiller.simplified_losses'
    expect(name in mappings, key, name, f'a loss of loss_forward_mappings: {list(mappings)}')
    mapping = mappings[name]
    known = isinstance(argument, str) and argument in mapping
    expect(known, f'{key}.{name}', argument, f'an argument of that loss: {list(mapping)}')
    for side, fed in zip(SIDES, (argument, STUDENT_ARGUMENT.get(argument)), strict=True):
        is_student = side == 'student'
        found = mapping.get(fed, {}).get('from_student', is_student)
        key = f'distiller.loss_forward_mappings.{name}.{fed}.from_student'
        expect(found is is_student, key, found, f'{is_student}: the logits of the {side}')
    expected = "a name with 'loss' in it: mmengine optimises no other, and SKD would not train"
    expect('loss' in name, 'distiller.distill_losses', name, expected)
    weight = getattr(distiller.distill_losses[name], 'loss_weight', 1)
    key = f'distiller.distill_losses.{name}.loss_weight'
    expected = 'at least 0: SKD is for the distiller that trains the student, not a generator'
    expect(not is_number(weight) or weight >= 0, key, weight, expected)


@contextlib.contextmanager
def check_sources(side: str, recorders: Any, model: nn.Module) -> Iterator[None]:
    """Adds to an error of preparing recorders what the sources are and may be.

    Args:
        side (str): ``'student'`` or ``'teacher'``.
        recorders (RecorderManager): The recorders.
        model (nn.Module): The model that they are prepared for.

    Raises:
        ValueError: Instead of any error inside; a TypeError stays one.
    """
    sources = {name: recorder.source for name, recorder in recorders.recorders.items()}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    expected = f'modules of the {side} {type(model).__name__}, whose linear layers are {linear}'
    with error_context(f'distiller.{side}_recorders', sources, expected):
        yield
        with recorders:  # Functions and methods are looked up when they are recorded.
            pass


def get_common_tau(losses: dict[str, nn.Module]) -> float:
    """The temperature of the losses, 1 where none has any.

    Args:
        losses (dict[str, nn.Module]): The losses by name.

    Raises:
        ValueError: One is not a positive number, or they differ, so that the
            simplifier needs one of its own.
    """
    taus: dict[str, Any] = {name: loss.tau for name, loss in losses.items() if hasattr(loss, 'tau')}
    for name, tau in taus.items():
        check_tau(f'distiller.distill_losses.{name}.tau', tau)
    agree = len(set(taus.values())) <= 1
    expect(agree, 'distiller.simplifier.tau', None, f'a number, since the losses have {taus}')
    return next(iter(taus.values()), 1.0)


def check_simplifier(simplifier: Any, num_classes: int) -> None:
    """Tries a simplifier on random logits.

    Args:
        simplifier (nn.Module): The simplifier.
        num_classes (int): Number of classes.

    Raises:
        ValueError: It cannot be called, or gives something else than finite
            logits of the same shape.
    """
    key, name = 'distiller.simplifier', type(simplifier).__name__
    tau = getattr(simplifier, 'tau', None)
    expect(is_number(tau), f'{key}.tau', tau, f'a number as an attribute of {name}')
    with error_context(key, name, f'a function of logits of shape (N, {num_classes})'):
        out = simplifier(torch.randn(4, num_classes))
    sound = isinstance(out, Tensor) and out.shape == (4, num_classes) and out.isfinite().all()
    expect(bool(sound), key, f'{name} with tau={tau}', 'that its outputs are finite logits')


def count_outputs(recorders: Any, model: nn.Module) -> dict[str, int | None]:
    """The number of classes that each recorded module puts out.

    Args:
        recorders (RecorderManager): The recorders.
        model (nn.Module): The model that they record.

    Returns:
        dict[str, int | None]: The width of a linear layer or convolution, else what
        the head of the model says, else None, by recorder.
    """
    modules, found = dict(model.named_modules()), {}
    for name, recorder in recorders.recorders.items():
        module = modules.get(recorder.source)
        widths = [getattr(module, key, None) for key in ('out_features', 'out_channels')]
        widths.append(getattr(getattr(model, 'head', None), 'num_classes', None))
        found[name] = next((width for width in widths if isinstance(width, int)), None)
    return found

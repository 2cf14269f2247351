"""Which losses take the teacher's logits, and how they train a simplifier."""

import contextlib
import copy
import warnings
from typing import Any

import torch
from mmrazor.models import losses
from mmrazor.registry import MODELS, TASK_UTILS
from torch import Tensor, nn

from ...utils import error_context, expect
from ..losses import LogSpaceDKDLoss, LogSpaceKLDivergence

_KL_LIKE = (
    *(LogSpaceDKDLoss, LogSpaceKLDivergence, losses.ChannelWiseDivergence, losses.CrossEntropyLoss),
    *(losses.DKDLoss, losses.KDSoftCELoss, losses.KLDivergence),
)
# The arguments of ``forward`` that take logits: the teacher's, the student's. Exact
# types: a subclass may do something else with its arguments.
LOGITS: dict[type[nn.Module], tuple[str, str]] = {
    **dict.fromkeys(_KL_LIKE, ('preds_T', 'preds_S')),
    losses.DISTLoss: ('logits_T', 'logits_S'),
    losses.WSLD: ('teacher', 'student'),
}
# Losses of features, which take logits where they are given some.
FEATURES = dict.fromkeys((losses.L1Loss, losses.L2Loss), ('t_feature', 's_feature'))
# By ``from_student``.
SIDES = ('teacher', 'student')
# The student's argument by the teacher's.
STUDENT_ARGUMENT = dict([*LOGITS.values(), *FEATURES.values()])
# The log-space version of a loss, and the arguments that both have.
_LOG_SPACE = {
    losses.KLDivergence: (LogSpaceKLDivergence, ('tau', 'reduction', 'loss_weight')),
    losses.DKDLoss: (LogSpaceDKDLoss, ('tau', 'reduction', 'loss_weight', 'alpha', 'beta')),
}
_DKD_SUMS = (
    "{key}: mmrazor's DKDLoss sums over the batch for reduction={reduction!r} "
    "(docs/known_issues.md, 13). SKD keeps that weight by type='LogSpaceDKDLoss', "
    "reduction='sum'; write type='LogSpaceDKDLoss' in the config to divide by the batch, as "
    "DKD's paper does."
)


def find_logit_losses(distiller: Any, logits_module: str) -> dict[str, str]:
    """Finds the losses that take the teacher's logits.

    A loss of logits that reads the backbone or the neck takes features, and a loss
    of features that reads the module of the logits, without a connector, takes
    logits.

    Args:
        distiller (ConfigurableDistiller): Has the losses.
        logits_module (str): Name of the module whose output are the logits.

    Returns:
        dict[str, str]: The argument that takes the teacher's logits, by loss.

    Raises:
        ValueError: A loss of logits has no entry for that argument.
    """
    found = {}
    for name, loss in distiller.distill_losses.items():
        mapping = distiller.loss_forward_mappings.get(name, {})
        argument, _ = {**LOGITS, **FEATURES}.get(type(loss), ('', ''))
        record = mapping.get(argument, {})
        source = f'.{_get_source(distiller, record)}.'  # or teacher.head.fc, of several
        if type(loss) in FEATURES:
            takes_logits = source.endswith(f'.{logits_module}.') and 'connector' not in record
        else:
            takes_logits = bool(argument) and not {'backbone', 'neck'} & {*source.split('.')}
        if takes_logits:
            key = f'distiller.loss_forward_mappings.{name}'
            expect(argument in mapping, key, mapping, f'an entry for {argument!r}')
            found[name] = argument
    return found


def _get_source(distiller: Any, record: dict[str, Any]) -> str:
    """The module that a record of the teacher is from; empty where it is not one."""
    recorders = distiller.teacher_recorders.recorders
    name = record.get('recorder')
    known = record.get('from_student') is False and isinstance(name, str) and name in recorders
    return str(recorders[name].source) if known else ''


def add_logit_loss(distiller: Any, logits_module: str, cfg: Any) -> dict[str, str]:
    """Adds a loss of the logits, and recorders of the logits of both models.

    Args:
        distiller (ConfigurableDistiller): Receives the loss, named ``loss_skd``.
        logits_module (str): Name of the module whose output are the logits.
        cfg (dict, optional): Config of the loss; KL at a temperature of 4 if None.

    Returns:
        dict[str, str]: As of :func:`find_logit_losses`.

    Raises:
        ValueError: It is no loss of logits, or the name is taken.
    """
    names, expected = list(distiller.distill_losses), "no 'loss_skd', which SKDDistiller adds"
    expect('loss_skd' not in names, 'distiller.distill_losses', names, expected)
    cfg = dict(type='KLDivergence', tau=4.0) if cfg is None else cfg
    with error_context('distiller.logit_loss', cfg, 'the config of a loss'):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
    arguments = LOGITS.get(type(loss), ('', ''))
    expected = 'a loss of preds_S and preds_T'
    expect('preds_T' in arguments, 'distiller.logit_loss', cfg, expected)
    distiller.distill_losses['loss_skd'] = loss
    mapping = {}
    for side, argument in zip(SIDES, arguments, strict=True):
        recorder = TASK_UTILS.build(
            dict(type='mmrazor.ModuleOutputsRecorder', source=logits_module)
        )
        getattr(distiller, f'{side}_recorders').recorders['logits_module'] = recorder
        mapping[argument] = dict(recorder='logits_module', from_student=side == 'student')
    distiller.loss_forward_mappings['loss_skd'] = mapping
    return {'loss_skd': 'preds_T'}


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
    if type(loss) in _LOG_SPACE:
        log_space, names = _LOG_SPACE[type(loss)]
        arguments = {argument: getattr(loss, argument) for argument in names}
        if type(loss) is losses.DKDLoss and loss.reduction in ('mean', 'none'):
            arguments['reduction'] = 'sum'
            warnings.warn(_DKD_SUMS.format(key=key, reduction=loss.reduction), stacklevel=2)
        with error_context(key, arguments, f'arguments of {log_space.__name__}'):
            loss = log_space(**arguments)
    if hasattr(loss, 'teacher_detach'):
        loss.teacher_detach = False
    if entropy_grad and hasattr(loss, 'entropy_grad'):
        own, expected = loss.entropy_grad, f'{entropy_grad}, as distiller.entropy_grad'
        expect(own in (0, entropy_grad), f'{key}.entropy_grad', own, expected)
        loss.entropy_grad = entropy_grad
    return loss


def check_loss(
    name: str, loss: nn.Module, arguments: list[str], teacher: str, num_classes: int
) -> bool:
    """Tries a loss on random logits, and refuses it if SKD could not train.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss.
        arguments (list[str]): All arguments that it will be called with.
        teacher (str): The one that takes the teacher's logits.
        num_classes (int): Number of classes.

    Returns:
        bool: Whether it could be computed: a loss of other things than logits and
        labels is checked in the first training step.

    Raises:
        ValueError: As of :func:`check_gradient`.
    """
    for shape in ((4, num_classes), (4, num_classes, 2, 2)):
        inputs = {
            argument: torch.randint(num_classes, (4,))
            if 'label' in argument
            else torch.randn(shape, requires_grad=True)
            for argument in arguments
        }
        with contextlib.suppress(Exception):
            value = copy.deepcopy(loss).cpu()(**inputs)
            break
    else:
        return False
    check_gradient(name, loss, value, inputs[teacher], teacher)
    return True


def check_gradient(name: str, loss: nn.Module, value: Tensor, logits: Tensor, teacher: str) -> None:
    """Refuses a loss whose value does not depend on the teacher's logits.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss.
        value (Tensor): What it returned.
        logits (Tensor): What it received as the teacher's logits.
        teacher (str): The argument that it received them by.

    Raises:
        ValueError: The gradient is missing, or 0, or has NaN or Inf in it.
    """
    gradient = None
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value.sum(), logits, retain_graph=True, allow_unused=True)
    # Only of mmrazor's losses is it known that they have no flat parts.
    may_be_zero = type(loss) not in LOGITS or loss.loss_weight == 0
    valid = gradient is not None and gradient.isfinite().all() and (may_be_zero or gradient.any())
    found = 'none' if gradient is None else f'of a sum of {gradient.abs().sum():g}'
    expected = (
        'a finite one, which trains the simplifier of SKD (a loss that detaches the teacher or '
        f'takes its argmax has none): another loss, or simplified_losses without {name!r}'
    )
    key = f'distiller.distill_losses.{name}: gradient of {type(loss).__name__} to its {teacher}'
    expect(bool(valid), key, found, expected)

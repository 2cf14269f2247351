"""Which losses take the teacher's logits, and their differentiable replacements."""

import contextlib
import warnings
from typing import Any

import torch
from mmrazor.models import losses
from torch import nn

from ...utils import error_context, expect, is_number
from ..losses import LogSpaceBinaryKLDivergence, LogSpaceDKDLoss, LogSpaceKLDivergence
from ..losses.log_space_kl_divergence import check_tau
from .logit_records import LogitRecords

_KL_LIKE = (
    *(LogSpaceDKDLoss, LogSpaceKLDivergence, losses.ChannelWiseDivergence, losses.CrossEntropyLoss),
    *(losses.DKDLoss, losses.KDSoftCELoss, losses.KLDivergence, LogSpaceBinaryKLDivergence),
)
# The arguments of ``forward`` that take the teacher's and the student's logits, by exact
# type: a subclass may use its arguments in another way.
LOGITS: dict[type[nn.Module], tuple[str, str]] = {
    **dict.fromkeys(_KL_LIKE, ('preds_T', 'preds_S')),
    losses.DISTLoss: ('logits_T', 'logits_S'),
    losses.WSLD: ('teacher', 'student'),
}
# Losses of features, which may be given logits.
FEATURES = dict.fromkeys((losses.L1Loss, losses.L2Loss), ('t_feature', 's_feature'))
KNOWN = {**LOGITS, **FEATURES}
# The student's argument by the teacher's.
STUDENT_ARGUMENT = dict(KNOWN.values())
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


def find_logit_losses(distiller: Any, records: LogitRecords, may_add: bool) -> dict[str, str]:
    """Finds the losses that take the teacher's logits.

    Warns of losses that may take logits.

    Args:
        distiller (ConfigurableDistiller): The distiller, with its losses.
        records (LogitRecords): Its records.
        may_add (bool): Whether a loss of the logits is to be added if none is found.

    Returns:
        dict[str, str]: The argument that takes the teacher's logits, by loss.

    Raises:
        ValueError: Only a loss of the user's own takes them, or the teacher's
            argument receives the logits of the student.
    """
    found: dict[str, str] = {}
    # By loss: the arguments that read the logits, and those that may.
    unknown: dict[str, list[str]] = {}
    doubtful: dict[str, list[str]] = {}
    for name, mapping in distiller.loss_forward_mappings.items():
        kind, key = type(distiller.distill_losses[name]), f'distiller.loss_forward_mappings.{name}'
        argument, _ = KNOWN.get(kind, ('', ''))
        record = mapping.get(argument)
        is_logits = records.is_logits('teacher', record)
        if kind in LOGITS:
            expect(argument in mapping, key, mapping, f'an entry for {argument!r}')
            is_swapped = record.get('from_student') is True and (
                records.is_logits('student', record)
                or record == mapping.get(STUDENT_ARGUMENT[argument])
            )
            expected = 'False: the logits of the teacher'
            expect(not is_swapped, f'{key}.{argument}.from_student', True, expected)
            if is_logits is None:
                warnings.warn(
                    f'{key}.{argument} is taken for logits; if {record} is a feature, name the '
                    'losses of logits by distiller.simplified_losses.',
                    stacklevel=3,
                )
            if is_logits is not False:
                found[name] = argument
        elif kind in FEATURES and is_logits and not record.get('connector'):
            found[name] = argument
        else:
            reads = {key: records.is_logits('teacher', mapping[key]) for key in mapping}
            sure = [key for key in reads if reads[key]]
            possible = [key for key in reads if reads[key] is None and 'label' not in key]
            if sure and kind not in FEATURES:
                unknown[name] = sure
            elif sure or possible:
                doubtful[name] = sure or possible
    expected = (
        f'{_get_line(unknown)}, or a logit_loss to add: SKD does not know the losses that read '
        'the logits'
    )
    expect(bool(found) or not unknown or not may_add, 'distiller.simplified_losses', None, expected)
    if found and unknown:
        warnings.warn(
            f'distiller.distill_losses: {list(unknown)} read the logits of the teacher as they '
            f'are, since SKD does not know them; {_get_line(unknown)} simplifies them.',
            stacklevel=3,
        )
    if doubtful and (found or may_add):
        added = 'a loss of logits is added beside them' if not found else 'they are left alone'
        warnings.warn(
            f'distiller.distill_losses: {list(doubtful)} may read the logits of the teacher, but '
            f'their recorders do not show it: {added}; {_get_line(doubtful)} simplifies them.',
            stacklevel=3,
        )
    return found


def _get_line(arguments: dict[str, list[str]]) -> str:
    """The setting that simplifies losses, with ``or`` between several possible arguments."""
    parts = [f'{name}={" or ".join(map(repr, keys))}' for name, keys in arguments.items()]
    return f'simplified_losses=dict({", ".join(parts)})'


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
            replacement = log_space(**arguments)
        # A fork of mmrazor may compute something else under the same name.
        loss = replacement if _is_equal(loss, replacement) else loss
    if hasattr(loss, 'teacher_detach'):
        loss.teacher_detach = False
    if entropy_grad and hasattr(loss, 'entropy_grad'):
        own, expected = loss.entropy_grad, f'{entropy_grad}, as distiller.entropy_grad'
        expect(own in (0, entropy_grad), f'{key}.entropy_grad', own, expected)
        loss.entropy_grad = entropy_grad
    return loss


def check_softmax(name: str, loss: nn.Module, records: LogitRecords, record: Any) -> None:
    """Warns of a loss with a softmax over independent (sigmoid) classes of the teacher.

    Args:
        name (str): The loss's name in ``distill_losses``.
        loss (nn.Module): The loss of the config.
        records (LogitRecords): The records, with the teacher.
        record (dict): The record that the loss receives as the teacher's logits.
    """
    head = records.get_teachers_head(record)
    no_softmax = (LogSpaceBinaryKLDivergence, losses.ChannelWiseDivergence)
    has_softmax = type(loss) in LOGITS and not isinstance(loss, no_softmax)
    if has_softmax and records.are_independent(record):
        warnings.warn(
            f'distiller.distill_losses.{name}: {type(loss).__name__} takes the softmax over the '
            f'classes of {type(head).__name__}, which are independent (sigmoid); '
            "type='LogSpaceBinaryKLDivergence' fits them.",
            stacklevel=4,
        )


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


def get_common_tau(losses: dict[str, nn.Module]) -> float:
    """The common temperature of the losses; 1 if they have none.

    Args:
        losses (dict[str, nn.Module]): The losses by name.

    Raises:
        ValueError: One is not positive, they differ, or a loss of the user's own has
            no number, so that the config of the simplifier needs ``tau``.
    """
    taus: dict[str, Any] = {}
    for name, loss in losses.items():
        attribute = next((key for key in ('tau', 'temperature', 'T') if hasattr(loss, key)), '')
        if attribute:
            taus[name] = getattr(loss, attribute)
            # Not of the user's own losses, where it may be a learned tensor.
            if type(loss) in KNOWN or is_number(taus[name]):
                check_tau(f'distiller.distill_losses.{name}.{attribute}', taus[name])
        elif type(loss) not in KNOWN:
            taus[name] = None
    agree = all(map(is_number, taus.values())) and len(set(taus.values())) <= 1
    expect(agree, 'distiller.simplifier.tau', None, f'a number, since the losses have {taus}')
    return next(iter(taus.values()), 1.0)

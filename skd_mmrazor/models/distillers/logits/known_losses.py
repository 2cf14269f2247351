"""The losses of logits and of features that SKD knows, and what their records are called."""

from typing import Any

from mmrazor.models import losses
from torch import nn

from ...losses import LogSpaceBinaryKLDivergence, LogSpaceDKDLoss, LogSpaceKLDivergence

SIDES = ('teacher', 'student')
# The ``record_idx`` of a record of all levels of a pyramid.
ALL_LEVELS = 'all'
# What losses call their temperature.
TEMPERATURES = ('tau', 'temperature', 'T')

_KL_LIKE = (
    LogSpaceBinaryKLDivergence,
    LogSpaceDKDLoss,
    LogSpaceKLDivergence,
    losses.ChannelWiseDivergence,
    losses.CrossEntropyLoss,
    losses.DKDLoss,
    losses.KDSoftCELoss,
    losses.KLDivergence,
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
_STUDENT_ARGUMENT = dict(KNOWN.values())


def get_pair(mapping: dict[str, Any], argument: Any) -> dict[str, tuple[str, Any]]:
    """The entries of a loss for the logits of both models, by the names of its arguments.

    Args:
        mapping (dict): The entries of the loss in ``loss_forward_mappings``.
        argument (str, optional): The argument that takes the teacher's logits.

    Returns:
        dict[str, tuple[str, Any]]: The argument and its entry, by side; without the
        student if it cannot be told which argument takes its logits.
    """
    arguments = dict(zip(SIDES, (argument, _STUDENT_ARGUMENT.get(argument)), strict=True))
    return {side: (key, mapping[key]) for side, key in arguments.items() if key in mapping}


def get_side(record: dict[str, Any]) -> str:
    """The model that a record is of."""
    return 'student' if record.get('from_student') else 'teacher'

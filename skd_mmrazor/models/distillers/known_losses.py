"""The losses of logits and of features that SKD knows, by exact type."""

from mmrazor.models import losses
from torch import nn

from ..losses import LogSpaceBinaryKLDivergence, LogSpaceDKDLoss, LogSpaceKLDivergence

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

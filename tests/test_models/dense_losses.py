"""Losses and records of the user's own, of dense logits, and models for them."""

from types import SimpleNamespace

from mmrazor.registry import MODELS
from torch import nn

from .dense_models import Detector, RetinaHead


@MODELS.register_module()
class SquaredDistance(nn.Module):
    """A loss whose arguments are called as in mmdetection."""

    def __init__(self, as_list=False):
        super().__init__()
        self.tau, self.as_list = 1.0, as_list

    def forward(self, pred, target):
        loss = (pred - target).square().mean()
        return [loss.expand(3), loss] if self.as_list else loss


@MODELS.register_module()
class SoftLabelDistance(nn.Module):
    """A loss that calls the teacher's logits a label, as ``KnowledgeDistillationKLDivLoss``."""

    tau = 1.0

    def forward(self, pred, soft_label):
        return (pred - soft_label).square().mean()


def own(loss='SquaredDistance', argument='target', source='bbox_head.retina_cls', **entry):
    """A loss of all levels; the entry is added to both models'."""
    kind = 'ModuleOutputs' if source.startswith(('bbox', 'decode')) else 'MethodOutputs'
    cls = dict(cls=dict(type=kind, source=source))
    entry = dict(dict(recorder='cls', record_idx='all'), **entry)
    records = {'pred': dict(entry, from_student=True), argument: dict(entry, from_student=False)}
    return dict(
        type='ConfigurableDistiller',
        student_recorders=cls,
        teacher_recorders=cls,
        distill_losses=dict(loss_own=loss if isinstance(loss, dict) else dict(type=loss)),
        loss_forward_mappings=dict(loss_own=records),
    )


NAMED = dict(simplified_losses=dict(loss_own='target'))


def with_anchors(scale, **settings):
    detector = Detector()
    settings = dict(dict(num_levels=2, scales=[scale]), **settings)
    detector.bbox_head.prior_generator = SimpleNamespace(**settings)
    return detector


class PairHead(RetinaHead):
    """Returns scores, boxes and a number for each image, by methods of several steps."""

    def forward(self, levels):
        return [self.forward_pair(level)[0] for level in levels]

    def forward_pair(self, level):
        (level,) = self.forward_tower(level)
        return self.retina_cls(level), self.reg(level), level.mean((1, 2, 3))

    def forward_tower(self, level):
        return (level,)


METHOD = f'{__name__}.PairHead.forward_pair'

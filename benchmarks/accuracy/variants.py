"""Simplifiers that the method study compares with the plugin's; nothing else uses them.

As with the plugin's, the simplified target starts as the softened teacher's.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor, nn

from skd_mmrazor.models import AttentionSimplifierConnector, SKDDistiller
from skd_mmrazor.models.connectors.attention import SampleAttention


@MODELS.register_module()
class StudentAwareSimplifier(AttentionSimplifierConnector):
    """Queries that depend on the student's logits, too.

    Args:
        num_classes (int): Number of classes.
        **kwargs: As for ``AttentionSimplifierConnector``, over samples.
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.attention = StudentAwareAttention(
            num_classes, self.attention.q.out_features, self.attention.num_heads
        )

    def see(self, student: Tensor) -> None:
        """Takes the student's logits of this step, (N, C)."""
        self.attention.student = self._soften(student, 1.0)


class StudentAwareAttention(SampleAttention):
    """Averages the projections of the teacher's and the student's softened logits."""

    def __init__(self, in_dims: int, embed_dims: int, num_heads: int) -> None:
        super().__init__(in_dims, embed_dims, num_heads)
        self.student_query = copy.deepcopy(self.q)
        self.student: Tensor | None = None

    def project(self, soft: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys of the teacher's softened logits."""
        query, key = super().project(soft, keys)
        if self.student is None:
            return query, key
        return (query + self.student_query(self.scale * self.embed(self.student))) / 2, key


@MODELS.register_module()
class StudentAwareSKDDistiller(SKDDistiller):
    """Passes the student's logits, of the recorder ``fc``, to the simplifier."""

    def compute_distill_losses(self) -> dict[str, Tensor]:
        """Computes the losses."""
        self.simplifier.see(self.get_record('fc', from_student=True).detach())
        return super().compute_distill_losses()


@MODELS.register_module()
class LowRankSimplifier(AttentionSimplifierConnector):
    """Adds a learned map of low rank, which starts at 0, to the values ``y``.

    Args:
        num_classes (int): Number of classes.
        rank (int): The rank. Defaults to 4.
        **kwargs: As for ``AttentionSimplifierConnector``, over samples.
    """

    def __init__(self, num_classes: int, rank: int = 4, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.attention = LowRankAttention(
            num_classes, self.attention.q.out_features, self.attention.num_heads
        )
        self.attention.add_map(rank)


class LowRankAttention(SampleAttention):
    """Adds a learned map of low rank to the average."""

    def add_map(self, rank: int) -> None:
        """Adds the map, which starts at 0."""
        self.down = nn.Linear(self.q.in_features, rank, bias=False)
        self.up = nn.Linear(rank, self.q.in_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, soft: Tensor) -> Tensor:
        """Averages (N, C) softened logits."""
        averaged = super().forward(soft)
        return averaged + self.up(self.down(averaged))


@MODELS.register_module()
class KeepTopSimplifier(AttentionSimplifierConnector):
    """Keeps the probability of the teacher's top class, and simplifies the others."""

    def forward_train(self, feature: Tensor) -> Tensor:
        """Simplifies (N, C) teacher logits."""
        teacher = (feature * self.current_factor / self.tau).log_softmax(dim=1)
        soft = super().forward_train(feature) / self.tau
        top = teacher.argmax(dim=1, keepdim=True)
        mass = [x.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) for x in (teacher, soft)]
        others = soft - mass[1] + mass[0]
        return self.tau * others.scatter(1, top, teacher.gather(1, top))


@MODELS.register_module()
class KeepScaleSimplifier(AttentionSimplifierConnector):
    """Normalizes each sample's logits to one scale, and restores its own afterwards."""

    def forward_train(self, feature: Tensor) -> Tensor:
        """Simplifies (N, C) teacher logits."""
        std, mean = torch.std_mean(feature, dim=1, keepdim=True)
        simplified = super().forward_train((feature - mean) / std * std.mean())
        new_std, new_mean = torch.std_mean(simplified, dim=1, keepdim=True)
        return (simplified - new_mean) / new_std * std * self.current_factor + mean


@MODELS.register_module()
class FidelitySKDDistiller(SKDDistiller):
    """Adds the divergence of the simplified targets from the teacher's to the loss.

    Args:
        fidelity (float): The weight of their KL divergence. Defaults to 1.0.
        **kwargs: As for ``SKDDistiller``.
    """

    def __init__(self, fidelity: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fidelity = fidelity

    def compute_distill_losses(self) -> dict[str, Tensor]:
        """Computes the losses, ``loss_fidelity`` among them."""
        losses = super().compute_distill_losses()
        losses['loss_fidelity'] = self.fidelity * self._divergence
        return losses

    def get_record(self, recorder: str, from_student: bool, **kwargs: Any) -> Any:
        """Gets a record, and compares it with the teacher's where it is simplified."""
        simplified = super().get_record(recorder, from_student, **kwargs)
        if kwargs.get('simplify'):
            teacher = super().get_record(recorder, from_student).detach()
            targets = ((x / self.simplifier.tau).log_softmax(dim=1) for x in (simplified, teacher))
            self._divergence = F.kl_div(*targets, reduction='batchmean', log_target=True)
        return simplified


@MODELS.register_module()
class StudentPacedSimplifier(AttentionSimplifierConnector):
    """Softens by the progress of the student, and not by the number of steps.

    The factor is ``pace`` times the slope of a regression of the student's logits on
    the teacher's over a batch, clamped to at least ``start_factor`` and at most 1.

    Args:
        num_classes (int): Number of classes.
        pace (float): The factor over the slope: how far the target is ahead of the
            student. Defaults to 2.0.
        **kwargs: As for ``AttentionSimplifierConnector``.
    """

    def __init__(self, num_classes: int, pace: float = 2.0, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.pace = pace
        self.student: Tensor | None = None
        self._teacher: Tensor | None = None

    def see(self, student: Tensor) -> None:
        """Takes the student's logits of this step, (N, C)."""
        self.student = student

    @property
    def current_factor(self) -> Tensor:  # type: ignore[override]
        """The factor, a scalar in [start_factor, 1]."""
        if self.student is None or self._teacher is None:
            return self.attention.q.weight.new_ones(())
        student, teacher = (x - x.mean(dim=1, keepdim=True) for x in (self.student, self._teacher))
        reached = (student * teacher).sum() / teacher.square().sum()
        return (self.pace * reached).clamp(self.start_factor, 1)

    def forward_train(self, feature: Tensor) -> Tensor:
        """Simplifies (N, C) teacher logits."""
        self._teacher = feature.detach()
        return super().forward_train(feature)

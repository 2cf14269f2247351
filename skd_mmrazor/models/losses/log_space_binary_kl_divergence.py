"""The distillation loss of independent (sigmoid) classes."""

from collections.abc import Iterator
from typing import Any

import torch
from mmrazor.registry import MODELS
from torch import Tensor

from .log_space_kl_divergence import LogSpaceKLDivergence, at_least_float32

# The logits are summed in parts of this many elements, which fit into a cache.
_MAX_ELEMENTS = 2**17


@MODELS.register_module()
class LogSpaceBinaryKLDivergence(LogSpaceKLDivergence):
    r"""KL divergence of independent (sigmoid) classes, as in dense detectors.

    .. math:: \tau^2 \sum_c KL\big(\sigma(t_c / \tau) \,\|\, \sigma(s_c / \tau)\big),

    the mean over samples and locations. The head never computes a softmax over these
    classes, so a loss with a softmax would compare distributions that nobody uses.
    Binary distillation of each class is what "Bridging Cross-task Protocol
    Inconsistency for Distillation in Dense Object Detection" does
    (https://arxiv.org/abs/2308.14286); its weights of the locations are left out.

    Args:
        tau (float): Temperature. Defaults to 1.0.
        loss_weight (float): Weight of the loss. Defaults to 1.0.
        entropy_grad (float): As in :class:`LogSpaceKLDivergence`. Defaults to 0.0.

    Raises:
        ValueError: ``tau`` is not positive or ``entropy_grad`` not in [0, 1].
    """

    def __init__(
        self, tau: float = 1.0, loss_weight: float = 1.0, entropy_grad: float = 0.0
    ) -> None:
        super().__init__(tau, loss_weight=loss_weight, entropy_grad=entropy_grad)

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            preds_S (Tensor): Student logits, (N, C) or (N, C, ...).
            preds_T (Tensor): Teacher logits, same shape.

        Returns:
            Tensor: A scalar.
        """
        student, teacher = at_least_float32(preds_S), at_least_float32(preds_T)
        total = _BinaryKL.apply(student, teacher, self.tau, self.entropy_grad)
        weight = self.loss_weight * self.tau**2
        return weight * preds_S.shape[1] / preds_S.numel() * total


class _BinaryKL(torch.autograd.Function):
    """The sum of binary divergences, computed in parts.

    It keeps its inputs alone, since all that autograd would keep of the logits of a detector
    takes more memory than the rest of the step. Autograd refuses to differentiate ``out=`` again.
    """

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, tau: float, entropy_grad: float
    ) -> Tensor:
        ctx.save_for_backward(student, teacher)
        ctx.tau, ctx.entropy_grad = tau, entropy_grad
        parts = _split(student, teacher)
        return torch.stack([_sum_kl(s / tau, t / tau) for s, t in parts]).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits = ctx.saved_tensors
        gradients = [x.new_empty(x.shape) for x in logits]
        gradient = gradient / ctx.tau
        for s, t, to_student, to_teacher in _split(*logits, *gradients):
            p, slope = (t / ctx.tau).sigmoid(), (ctx.entropy_grad * t - s) / ctx.tau
            torch.mul((s / ctx.tau).sigmoid_().sub_(p), gradient, out=to_student)
            torch.mul(slope.mul_(p).mul_(1 - p), gradient, out=to_teacher)
        return (*gradients, None, None)


def _split(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Parts of all tensors, flat."""
    return zip(*(x.flatten().split(_MAX_ELEMENTS) for x in tensors), strict=True)


def _sum_kl(student: Tensor, teacher: Tensor) -> Tensor:
    # Signs are flipped where the teacher's logit is positive, so that no large terms cancel.
    # softplus(s) - softplus(t) takes a single logarithm, which is slow.
    t = -teacher.abs()
    s = torch.where(teacher > 0, -student, student)
    p = t.sigmoid()
    logs = ((-s.abs()).exp() - t.exp()).mul_(1 - p).log1p_()
    return (logs + s.relu() - p * (s - t)).sum()

"""The distillation loss of KD, differentiable in the student's and the teacher's logits."""

import torch
from mmrazor.models.losses import KLDivergence
from mmrazor.registry import MODELS
from torch import Tensor

from ...utils import expect, is_number


def elementwise_kl(log_student: Tensor, log_teacher: Tensor, entropy_grad: float) -> Tensor:
    r"""The terms :math:`t (\log t - \log s)` of a Kullback–Leibler divergence.

    Both distributions are kept as logarithms, so that a probability that underflows
    contributes 0 with a finite gradient, where ``F.kl_div`` with a target of
    exactly 0 gives NaN.

    Args:
        log_student (Tensor): Log-probabilities of the student, any shape.
        log_teacher (Tensor): Log-probabilities of the teacher, same shape.
        entropy_grad (float): Weight of the terms :math:`t \log t`, the
            teacher's negative entropy, in the gradient. It does not change the
            value.

    Returns:
        Tensor: One term per element.
    """
    teacher = log_teacher.exp()
    return weigh_gradient(teacher * log_teacher, entropy_grad) - teacher * log_student


def weigh_gradient(x: Tensor, weight: float) -> Tensor:
    """A tensor as it is, whose gradient is multiplied by a weight from 0 to 1."""
    # Of the lerp, only the second tensor has a gradient.
    return x.detach().lerp(x, weight) if weight else x.detach()


def at_least_float32(logits: Tensor) -> Tensor:
    """Converts float16 and bfloat16 to float32."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


@MODELS.register_module()
class LogSpaceKLDivergence(KLDivergence):
    r"""KL divergence of softened logits, computed from log-probabilities.

    Equal in value to mmrazor's ``KLDivergence``. Unlike that, it gives the
    teacher's logits a gradient, which is finite for any finite logits. In SKD
    this gradient trains the simplifier.

    :math:`KL(T \| S) = \sum T \log T - \sum T \log S`. The student's gradient
    comes from the second sum alone. The first is the teacher's own negative
    entropy; its gradient draws a trainable target towards the uniform
    distribution, which teaches the student nothing. ``entropy_grad=0`` removes
    that gradient and changes neither the value of the loss nor the student's
    gradient: the teacher's logits then receive the gradient of the cross-entropy
    with soft targets by which Hinton et al. define KD
    (https://arxiv.org/abs/1503.02531, section 2).

    Args:
        tau (float): Temperature. Defaults to 1.0.
        reduction (str): ``'none'``, ``'batchmean'``, ``'sum'`` or ``'mean'``,
            as in :func:`torch.nn.functional.kl_div`. Defaults to
            ``'batchmean'``.
        loss_weight (float): Weight of the loss. Defaults to 1.0.
        teacher_detach (bool): Whether to detach the teacher's logits. Defaults
            to False.
        entropy_grad (float): Weight of the teacher's own entropy in the
            gradient to the teacher, from 0 to 1, which is the true gradient.
            Defaults to 0.0.

    Raises:
        ValueError: ``tau`` is not positive or ``entropy_grad`` not in [0, 1].
    """

    def __init__(
        self,
        tau: float = 1.0,
        reduction: str = 'batchmean',
        loss_weight: float = 1.0,
        teacher_detach: bool = False,
        entropy_grad: float = 0.0,
    ) -> None:
        super().__init__(tau, reduction, loss_weight, teacher_detach)
        check_tau(f'{type(self).__name__}: tau', tau)
        check_entropy_grad(f'{type(self).__name__}: entropy_grad', entropy_grad)
        self.entropy_grad = entropy_grad

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            preds_S (Tensor): Student logits, (N, C) or (N, C, ...).
            preds_T (Tensor): Teacher logits, same shape.

        Returns:
            Tensor: A scalar, or the shape of the logits for
            ``reduction='none'``.
        """
        if self.teacher_detach:
            preds_T = preds_T.detach()
        log_student = (at_least_float32(preds_S) / self.tau).log_softmax(dim=1)
        log_teacher = (at_least_float32(preds_T) / self.tau).log_softmax(dim=1)
        loss = elementwise_kl(log_student, log_teacher, self.entropy_grad)
        weight = self.loss_weight * self.tau**2
        if self.reduction == 'batchmean':
            return weight / preds_S.shape[0] * loss.sum()
        return weight * (loss if self.reduction == 'none' else getattr(loss, self.reduction)())


def check_tau(key: str, tau: float) -> None:
    """Raises a ValueError that names the key unless a temperature is positive."""
    expect(is_number(tau) and tau > 0, key, tau, 'a positive number')


def check_entropy_grad(key: str, entropy_grad: float) -> None:
    """Raises a ValueError that names the key unless a weight is in [0, 1]."""
    in_range = is_number(entropy_grad) and 0 <= entropy_grad <= 1
    expect(in_range, key, entropy_grad, 'a number from 0 to 1')

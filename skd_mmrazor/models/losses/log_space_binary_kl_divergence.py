"""The distillation loss of independent (sigmoid) classes."""

import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ...utils.parts import in_parts
from .log_space_kl_divergence import (
    at_least_float32,
    check_entropy_grad,
    check_tau,
    weigh_gradient,
)


@MODELS.register_module()
class LogSpaceBinaryKLDivergence(nn.Module):
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
        super().__init__()
        check_tau(f'{type(self).__name__}: tau', tau)
        check_entropy_grad(f'{type(self).__name__}: entropy_grad', entropy_grad)
        self.tau = tau
        self.loss_weight = loss_weight
        self.entropy_grad = entropy_grad

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            preds_S (Tensor): Student logits, (N, C) or (N, C, ...).
            preds_T (Tensor): Teacher logits, same shape.

        Returns:
            Tensor: A scalar.
        """
        # Large logits are compared in parts, since all that autograd would keep of those of a
        # detector takes more memory than the rest of the step.
        logits = (at_least_float32(preds).flatten() for preds in (preds_S, preds_T))
        total = in_parts(self._sum_kl, *logits).sum()
        weight = self.loss_weight * self.tau**2
        return weight * preds_S.shape[1] / preds_S.numel() * total

    def _sum_kl(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = student / self.tau, teacher / self.tau
        p = teacher.sigmoid()
        # -p log σ(x) - (1 - p) log σ(-x) = softplus(x) - p x, exact for unlikely classes.
        cross_entropy = F.softplus(student) - p * student
        entropy = weigh_gradient(F.softplus(teacher) - p * teacher, self.entropy_grad)
        return (cross_entropy - entropy).sum(dim=0, keepdim=True)

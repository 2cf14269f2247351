"""The distillation loss of independent (sigmoid) classes."""

import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor, nn

from .log_space_kl_divergence import at_least_float32, check_entropy_grad, check_tau, elementwise_kl


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
        logits = torch.stack([at_least_float32(preds_S), at_least_float32(preds_T)]) / self.tau
        student, teacher = F.logsigmoid(torch.stack([logits, -logits])).unbind(dim=1)
        loss = elementwise_kl(student, teacher, self.entropy_grad).sum()
        return self.loss_weight * self.tau**2 * preds_S.shape[1] / preds_S.numel() * loss

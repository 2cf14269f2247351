"""Decoupled knowledge distillation, differentiable in the student's and teacher's logits."""

import torch
import torch.nn.functional as F
from mmrazor.models.losses import DKDLoss
from mmrazor.registry import MODELS
from torch import Tensor

from .log_space_kl_divergence import at_least_float32, check_entropy_grad, check_tau, elementwise_kl


@MODELS.register_module()
class LogSpaceDKDLoss(DKDLoss):
    r"""`Decoupled Knowledge Distillation <https://arxiv.org/abs/2203.08679>`_
    from log-probabilities.

    DKD weighs two divergences: between the binary distributions "target class or
    not" (TCKD, :math:`\alpha`), and between the distributions over the other
    classes (NCKD, :math:`\beta`). With :math:`z_t` the target's softened logit,
    the first depends on one number per sample,

    .. math:: m = z_t - \log \sum_{c \ne t} e^{z_c},
              \quad p_t = \sigma(m), \quad 1 - p_t = \sigma(-m),

    so ``logsigmoid`` gives both logarithms to full precision, however confident
    a network is.

    mmrazor's ``DKDLoss`` differs in two ways. It puts an exact 0 into the
    teacher's distribution, for which ``F.kl_div`` has a NaN gradient: it cannot
    train a simplifier. And it passes ``size_average=False``, which overrides
    ``reduction`` in torch: its ``'mean'``, which mmrazor's own DKD config sets,
    and its ``'none'`` are *sums* over the batch. Only its default,
    ``'batchmean'``, divides by the batch, as the paper does.

    Args:
        tau (float): Temperature. Defaults to 1.0.
        alpha (float): Weight of TCKD. Defaults to 1.0.
        beta (float): Weight of NCKD. Defaults to 1.0.
        reduction (str): Over the samples: ``'batchmean'`` or ``'mean'`` divides
            by the batch size, ``'sum'`` adds, ``'none'`` gives one value per
            sample. Defaults to ``'batchmean'``.
        loss_weight (float): Weight of the loss. Defaults to 1.0.
        entropy_grad (float): As in :class:`LogSpaceKLDivergence`. Defaults to
            0.0.

    Raises:
        ValueError: ``tau`` is not positive or ``entropy_grad`` not in [0, 1].
    """

    def __init__(
        self,
        tau: float = 1.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        reduction: str = 'batchmean',
        loss_weight: float = 1.0,
        entropy_grad: float = 0.0,
    ) -> None:
        super().__init__(tau, alpha, beta, reduction, loss_weight)
        check_tau(f'{type(self).__name__}: tau', tau)
        check_entropy_grad(f'{type(self).__name__}: entropy_grad', entropy_grad)
        self.entropy_grad = entropy_grad

    def forward(self, preds_S: Tensor, preds_T: Tensor, gt_labels: Tensor) -> Tensor:
        """Computes the loss.

        Args:
            preds_S (Tensor): Student logits, (N, C).
            preds_T (Tensor): Teacher logits, (N, C).
            gt_labels (Tensor): Class indices, (N,) or (N, 1).

        Returns:
            Tensor: A scalar, or (N,) for ``reduction='none'``.
        """
        # Both networks and both divergences at once, (2, N, 2 + C): each operator costs time.
        logits = torch.stack([at_least_float32(preds_S), at_least_float32(preds_T)]) / self.tau
        labels = gt_labels.reshape(1, -1, 1).expand(2, -1, -1)
        others = logits.scatter(2, labels, float('-inf')).logsumexp(dim=2, keepdim=True)
        relative = logits - others
        margin = relative.gather(2, labels)
        # Log-probabilities of the target and of all others together, then those among the
        # others; there the target's is 0 for both networks and so contributes nothing.
        binary = F.logsigmoid(torch.cat([margin, -margin], dim=2))
        student, teacher = torch.cat([binary, relative.scatter(2, labels, 0.0)], dim=2).unbind()
        terms = elementwise_kl(student, teacher, self.entropy_grad)
        tckd, nckd = terms.split([2, terms.shape[1] - 2], dim=1)
        weight = self.loss_weight * self.tau**2
        if self.reduction in ('batchmean', 'mean'):
            weight /= len(preds_S)
        tckd = weight * self.alpha * tckd.sum(dim=1)
        loss = torch.add(tckd, nckd.sum(dim=1), alpha=weight * self.beta)
        return loss if self.reduction == 'none' else loss.sum()

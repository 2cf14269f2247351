"""Decoupled knowledge distillation, differentiable in the student's and teacher's logits."""

import torch
import torch.nn.functional as F
from mmrazor.models.losses import DKDLoss
from mmrazor.registry import MODELS
from torch import Tensor

from .labels import expect_class_indices
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

        Raises:
            ValueError: The labels are soft, as with Mixup, or several per sample.
        """
        expect_class_indices(f'{type(self).__name__}: gt_labels', gt_labels, len(preds_S))
        # Both networks at once, (2, N, C), which halves the number of operators.
        logits = torch.stack([at_least_float32(preds_S), at_least_float32(preds_T)]) / self.tau
        labels = gt_labels.reshape(1, -1, 1).expand(2, -1, -1)
        others = logits.scatter(2, labels, float('-inf')).logsumexp(dim=2, keepdim=True)
        margin = (logits.gather(2, labels) - others).squeeze(2)
        # Log-probabilities of the target and of all others together, (2, N) each.
        student, teacher = F.logsigmoid(torch.stack([margin, -margin])).unbind(dim=1)
        tckd = elementwise_kl(student, teacher, self.entropy_grad).sum(dim=0)
        # Those among the other classes; the target's is 0 for both and so contributes nothing.
        student, teacher = (logits - others).scatter(2, labels, 0.0).unbind()
        nckd = elementwise_kl(student, teacher, self.entropy_grad).sum(dim=1)

        weight = self.loss_weight * self.tau**2
        loss = weight * self.alpha * tckd + weight * self.beta * nckd
        if self.reduction == 'none':
            return loss
        return loss.sum() if self.reduction == 'sum' else loss.mean()

"""Contrastive representation distillation with a weight."""

from typing import Any

from mmrazor.models.losses import CRDLoss
from mmrazor.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class WeightedCRDLoss(nn.Module):
    r"""mmrazor's ``CRDLoss`` (`Contrastive Representation Distillation
    <https://arxiv.org/abs/1910.10699>`_), multiplied by its weight.

    mmrazor 1.0.0 takes a ``loss_weight`` and ignores it. This class holds a
    ``CRDLoss`` whose own weight is 1, so that the weight is applied once in a fixed
    mmrazor, too.

    Args:
        loss_weight (float): Weight of the loss. Defaults to 1.0.
        **kwargs: As for ``CRDLoss``: ``temperature``, ``neg_num``, ``sample_n``,
            ``dim_out``, ``momentum`` and ``eps``.
    """

    def __init__(self, loss_weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss = CRDLoss(**kwargs)

    def forward(self, s_feats: Tensor, t_feats: Tensor, data_samples: list) -> Tensor:
        """Computes the loss, and updates its memory of embeddings.

        Args:
            s_feats (Tensor): The student's embeddings, of unit norm, (N, D).
            t_feats (Tensor): The teacher's, (N, D).
            data_samples (list[DataSample]): With ``sample_idx``, and the negatives as
                ``contrast_sample_idxs``.

        Returns:
            Tensor: The weighted loss, (1,).
        """
        return self.loss_weight * self.loss(s_feats, t_feats, data_samples)

"""Attention whose heads share their values."""

import torch.nn.functional as F
from torch import Tensor


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """The weights of the attention, averaged over the heads.

    Args:
        q (Tensor): Queries, (..., num_heads, N, head_dim).
        k (Tensor): Keys, (..., num_heads, M, head_dim).

    Returns:
        Tensor: (..., N, M); rows sum to 1.
    """
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return scores.softmax(dim=-1).mean(dim=-3)


def attend(q: Tensor, k: Tensor, values: Tensor) -> Tensor:
    """Averages values by the attention.

    Args:
        q (Tensor): Queries, (..., num_heads, N, head_dim).
        k (Tensor): Keys, (..., num_heads, M, head_dim).
        values (Tensor): (..., M, value_dim).

    Returns:
        Tensor: (..., N, value_dim).
    """
    length, head_dim, value_dim = k.shape[-2], q.shape[-1], values.shape[-1]
    # The weights are small beside queries or values: compute them.
    if length <= 2 * max(head_dim, value_dim):
        return attention_weights(q, k) @ values
    # Else use the fused kernels, whose memory is linear in the length. They take four
    # dimensions of one width, on GPUs a multiple of 8; zeros change only the scale.
    width = -8 * (-max(head_dim, value_dim) // 8)
    q, k, padded = (
        F.pad(x.flatten(0, -4), (0, width - x.shape[-1]))
        for x in (q * (width / head_dim) ** 0.5, k, values.unsqueeze(-3))
    )
    averaged = F.scaled_dot_product_attention(q, k, padded.expand_as(k)).mean(dim=1)
    return averaged[..., :value_dim].unflatten(0, values.shape[:-2])

"""Attention whose heads share their values."""

import torch.nn.functional as F
from torch import Tensor


def attention_weights(q: Tensor, k: Tensor, num_heads: int = 1) -> Tensor:
    """The weights of the attention, averaged over the heads.

    Args:
        q (Tensor): Queries of all heads, (..., N, embed_dims).
        k (Tensor): Keys of all heads, (..., M, embed_dims).
        num_heads (int): Number of heads. Defaults to 1.

    Returns:
        Tensor: (..., N, M); rows sum to 1.
    """
    scale = (num_heads / q.shape[-1]) ** 0.5
    if num_heads == 1:
        return (scale * (q @ k.mT)).softmax(dim=-1)
    q, k = _split(q, num_heads), _split(k, num_heads)
    return (scale * (q @ k.mT)).softmax(dim=-1).mean(dim=-3)


def attend(q: Tensor, k: Tensor, values: Tensor, num_heads: int = 1) -> Tensor:
    """Averages values, weighted by attention.

    Args:
        q (Tensor): Queries of all heads, (..., N, embed_dims).
        k (Tensor): Keys of all heads, (..., M, embed_dims).
        values (Tensor): (..., M, value_dim), shared by the heads.
        num_heads (int): Number of heads. Defaults to 1.

    Returns:
        Tensor: (..., N, value_dim).
    """
    length, head_dim, value_dim = k.shape[-2], q.shape[-1] // num_heads, values.shape[-1]
    # With few keys the weights take little memory: compute them.
    if length <= 2 * max(head_dim, value_dim):
        return attention_weights(q, k, num_heads) @ values
    # Else use the fused kernels, whose memory is linear in the length. They take
    # four-dimensional q, k and values of one width, on GPUs a multiple of 8. Padding
    # with zeros changes only the scale, which is corrected in q.
    q, k = _split(q, num_heads), _split(k, num_heads)
    width = -8 * (-max(head_dim, value_dim) // 8)
    q, k, padded = (
        F.pad(x.reshape(-1, *x.shape[-3:]), (0, width - x.shape[-1]))
        for x in (q * (width / head_dim) ** 0.5, k, values.unsqueeze(-3))
    )
    averaged = F.scaled_dot_product_attention(q, k, padded.expand_as(k)).mean(dim=1)
    return averaged[..., :value_dim].reshape(*values.shape[:-2], -1, value_dim)


def _split(x: Tensor, num_heads: int) -> Tensor:
    """(..., N, embed_dims) as (..., num_heads, N, head_dim)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)

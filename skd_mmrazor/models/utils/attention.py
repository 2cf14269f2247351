"""Averages of an attention whose heads share their values."""

import torch.nn.functional as F
from torch import Tensor


def get_weights(query: Tensor, key: Tensor) -> Tensor:
    """The weights of an attention, the mean over its heads.

    Args:
        query (Tensor): (..., num_heads, length, head_dims).
        key (Tensor): Same shape.

    Returns:
        Tensor: (..., length, length); rows sum to 1.
    """
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = scores.softmax(dim=-1)
    return weights.mean(dim=-3) if weights.shape[-3] > 1 else weights.squeeze(-3)


def attend(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """Averages values with the weights of an attention.

    Args:
        query (Tensor): (..., num_heads, length, head_dims).
        key (Tensor): Same shape.
        values (Tensor): (..., length, value_dims).

    Returns:
        Tensor: As the values.
    """
    length, dims = query.shape[-2], max(query.shape[-1], values.shape[-1])
    # Weights that are no larger than tokens and values are had at once.
    if length <= 2 * dims:
        return get_weights(query, key) @ values
    return _attend_in_blocks(query, key, values)


def _attend_in_blocks(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """``get_weights(query, key) @ values``, of which all weights are never held.

    The kernels for it want four dimensions and a single width, on GPUs a multiple
    of 8. Zeros change no score but the scale.
    """
    head_dims, value_dims = query.shape[-1], values.shape[-1]
    width = -8 * (-max(head_dims, value_dims) // 8)
    query, key, padded = (
        F.pad(x.flatten(0, -4), (0, width - x.shape[-1]))
        for x in (query * (width / head_dims) ** 0.5, key, values.unsqueeze(-3))
    )
    averaged = F.scaled_dot_product_attention(query, key, padded.expand_as(query)).mean(dim=1)
    return averaged[..., :value_dims].reshape(values.shape)

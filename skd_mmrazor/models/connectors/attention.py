"""Attention between samples or between classes, with the softened logits as values."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

# The initial score of a token with itself. Dissimilar tokens score near 0, so a token
# first attends to itself and to similar ones: e^8 is about 3000.
_SELF_SCORE = 8.0
# Locations of a dense map attend to at most this many means of neighbouring locations.
_MAX_KEYS = 64
# Above this number of elements, class tokens are computed in chunks, and recomputed in
# the backward pass.
_MAX_TOKEN_ELEMENTS = 2**22


class SampleAttention(nn.Module):
    """Averages the softened logits of the samples that the teacher finds similar.

    In dense logits each location is a sample and attends within its own image: to each
    location where there are at most 64, else to 64 means of consecutive locations, so
    that time and memory stay linear in the locations.

    Args:
        in_dims (int): Width of a token; the number of classes.
        embed_dims (int): Width of queries and keys, over all heads.
        num_heads (int): Number of heads, which share their values.
    """

    def __init__(self, in_dims: int, embed_dims: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (num_heads / embed_dims) ** 0.5
        self.q = nn.Linear(in_dims, embed_dims, bias=False)
        self.k = nn.Linear(in_dims, embed_dims, bias=False)
        # Queries and keys start with the same weights. A token has the squared norm
        # in_dims, of which this much reaches each head:
        kept = min(embed_dims, in_dims) / num_heads
        squared_gain = _SELF_SCORE * (embed_dims // num_heads) ** 0.5 / kept
        nn.init.orthogonal_(self.q.weight, gain=squared_gain**0.5)
        self.k.load_state_dict(self.q.state_dict())

    def forward(self, soft: Tensor) -> Tensor:
        """Averages softened logits.

        Args:
            soft (Tensor): (N, C), or (N, locations, C) of dense logits.

        Returns:
            Tensor: Of the same shape.
        """
        keys = soft
        if soft.dim() > 2 and soft.shape[1] > _MAX_KEYS:
            keys = F.adaptive_avg_pool1d(soft.transpose(1, 2), _MAX_KEYS).transpose(1, 2)
        return attend(*self.project(soft, keys), keys, self.num_heads)

    def get_weights(self, soft: Tensor) -> Tensor:
        """The weights of the attention for (N, C) softened logits, see :func:`get_weights`."""
        return get_weights(*self.project(soft, soft), self.num_heads)

    def project(self, soft: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The queries of ``soft``, over √head_dim, and the keys of ``keys``; (..., embed_dims)."""
        tokens = self.embed(soft)
        return self.q(self.scale * tokens), self.k(tokens if keys is soft else self.embed(keys))

    def embed(self, soft: Tensor) -> Tensor:
        """The tokens of (..., N, C) softened logits, of the same shape."""
        return F.layer_norm(soft, soft.shape[-1:])


class ClassAttention(SampleAttention):
    """Averages the softened logits of the classes of a sample that score alike.

    A token is the embedding of its class plus its score times a second one.

    Args:
        num_classes (int): Number of classes.
        embed_dims (int): Width of tokens, queries and keys, over all heads.
        num_heads (int): Number of heads, which share their values.
    """

    def __init__(self, num_classes: int, embed_dims: int, num_heads: int) -> None:
        super().__init__(embed_dims, embed_dims, num_heads)
        self.class_embedding = nn.Parameter(torch.randn(num_classes, embed_dims))
        self.score_embedding = nn.Parameter(torch.randn(embed_dims))

    def forward(self, soft: Tensor) -> Tensor:
        """Averages softened logits.

        Args:
            soft (Tensor): (..., C).

        Returns:
            Tensor: Of the same shape.
        """
        rows = max(1, _MAX_TOKEN_ELEMENTS // self.class_embedding.numel())
        return in_parts(self._average, soft.flatten(0, -2), rows).reshape(soft.shape)

    def embed(self, soft: Tensor) -> Tensor:
        """The tokens of (..., C) softened logits, (..., C, embed_dims)."""
        tokens = super().embed(soft).unsqueeze(-1) * self.score_embedding + self.class_embedding
        return super().embed(tokens)

    def _average(self, soft: Tensor) -> Tensor:
        return attend(*self.project(soft, soft), soft.unsqueeze(-1), self.num_heads).squeeze(-1)


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, rows: int) -> Tensor:
    """Applies a function to a batch, in parts if it is large.

    The parts are computed again in the backward pass, so that little of them is kept.

    Args:
        function (Callable): Maps a batch to another of the same length, and draws no
            random numbers.
        x (Tensor): The batch.
        rows (int): The largest length of a part.

    Returns:
        Tensor: As of ``function(x)``.
    """
    if len(x) <= rows:
        return function(x)
    parts = [
        checkpoint(function, part, use_reentrant=False, preserve_rng_state=False)
        for part in x.split(rows)
    ]
    return torch.cat(parts)


def get_weights(q: Tensor, k: Tensor, num_heads: int) -> Tensor:
    """The weights of the attention, averaged over the heads.

    Args:
        q (Tensor): Scaled queries of all heads, (..., N, embed_dims).
        k (Tensor): Keys of all heads, (..., M, embed_dims).
        num_heads (int): Number of heads.

    Returns:
        Tensor: (..., N, M); rows sum to 1.
    """
    if num_heads == 1:
        return (q @ k.mT).softmax(dim=-1)
    q, k = _split(q, num_heads), _split(k, num_heads)
    return (q @ k.mT).softmax(dim=-1).mean(dim=-3)


def attend(q: Tensor, k: Tensor, values: Tensor, num_heads: int) -> Tensor:
    """Averages values, weighted by attention.

    Args:
        q (Tensor): Scaled queries of all heads, (..., N, embed_dims).
        k (Tensor): Keys of all heads, (..., M, embed_dims).
        values (Tensor): (..., M, value_dim), shared by the heads.
        num_heads (int): Number of heads.

    Returns:
        Tensor: (..., N, value_dim).
    """
    length, head_dim, value_dim = k.shape[-2], q.shape[-1] // num_heads, values.shape[-1]
    # With few keys the weights take little memory: compute them.
    if length <= 2 * max(head_dim, value_dim):
        return get_weights(q, k, num_heads) @ values
    # Else use the fused kernels, whose memory is linear in the length. They take
    # four-dimensional q, k and values of one width, on GPUs a multiple of 8. Padding
    # with zeros changes nothing; their own scale is taken back in q.
    q, k = _split(q, num_heads), _split(k, num_heads)
    width = -8 * (-max(head_dim, value_dim) // 8)
    q, k, padded = (
        F.pad(x.reshape(-1, *x.shape[-3:]), (0, width - x.shape[-1]))
        for x in (q * width**0.5, k, values.unsqueeze(-3))
    )
    averaged = F.scaled_dot_product_attention(q, k, padded.expand_as(k)).mean(dim=1)
    return averaged[..., :value_dim].reshape(*values.shape[:-2], -1, value_dim)


def _split(x: Tensor, num_heads: int) -> Tensor:
    """(..., N, embed_dims) as (..., num_heads, N, head_dim)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(-3, -2)

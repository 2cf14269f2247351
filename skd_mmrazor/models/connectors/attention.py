"""Attention between samples or between classes, with the softened logits as values."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.parts import in_parts

# The initial score of a token with itself. Dissimilar tokens score near 0, so a token
# first attends to itself and to similar ones: e^8 is about 3000.
_SELF_SCORE = 8.0
# Locations of a dense map attend to at most this many means of neighbouring locations.
_MAX_KEYS = 64


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
        return self.get_weights(soft, keys) @ keys

    def get_weights(self, soft: Tensor, keys: Tensor) -> Tensor:
        """The weights of the attention, averaged over the heads.

        Args:
            soft (Tensor): Softened logits, as for :meth:`forward`.
            keys (Tensor): The same, or means of them.

        Returns:
            Tensor: (..., queries, keys); rows sum to 1.
        """
        q, k = self.project(soft, keys)
        if self.num_heads == 1:
            return (q @ k.mT).softmax(dim=-1)
        return (self.split(q) @ self.split(k).mT).softmax(dim=-1).mean(dim=-3)

    def split(self, x: Tensor) -> Tensor:
        """(..., N, embed_dims) as (..., num_heads, N, head_dim)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(-3, -2)

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
        # Never more than 2**22 / 128 rows: before torch 2.7, fused kernels take 65,535 at most.
        size = max(128, self.class_embedding.numel())
        return in_parts(self._average, soft.flatten(0, -2), row_size=size).reshape(soft.shape)

    def embed(self, soft: Tensor) -> Tensor:
        """The tokens of (..., C) softened logits, (..., C, embed_dims)."""
        tokens = super().embed(soft).unsqueeze(-1) * self.score_embedding + self.class_embedding
        return super().embed(tokens)

    def _average(self, soft: Tensor) -> Tensor:
        # The fused kernels never hold the weights, whose number is quadratic in the classes.
        # They take q, k and values of one width, on GPUs a multiple of 8, and divide the
        # scores by its root. Padding with zeros changes nothing.
        q, k = (self.split(x) for x in self.project(soft, soft))
        width = -8 * (-q.shape[-1] // 8)
        q, k, values = (
            F.pad(x, (0, width - x.shape[-1])) for x in (q * width**0.5, k, soft[:, None, :, None])
        )
        averaged = F.scaled_dot_product_attention(q, k, values.expand_as(k))
        return averaged[..., 0].mean(dim=1)

"""Batches that are computed in parts, so that large ones take little memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# The largest number of elements of a part.
MAX_ELEMENTS = 2**22


def in_parts(
    function: Callable[..., Tensor], *batches: Tensor, row_size: int | None = None
) -> Tensor:
    """Applies a function to batches, in parts if they are large.

    Parts are recomputed in the backward pass, so autograd keeps only the batches.

    Args:
        function (Callable): Maps rows of the batches to a batch, and draws no random
            numbers.
        *batches (Tensor): Batches of the same length.
        row_size (int, optional): How many elements the function makes of a row. Defaults to
            None: as many as the row has.

    Returns:
        Tensor: The results, concatenated.
    """
    rows = max(1, MAX_ELEMENTS // (row_size or batches[0].shape[1:].numel() or 1))
    if len(batches[0]) <= rows:
        return function(*batches)
    options: dict[str, Any] = dict(use_reentrant=False, preserve_rng_state=False)
    parts = zip(*(batch.split(rows) for batch in batches), strict=True)
    return torch.cat([checkpoint(function, *part, **options) for part in parts])

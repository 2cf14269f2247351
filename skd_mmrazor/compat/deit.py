"""mmrazor's head of DeiT on mmpretrain's transformers."""

from collections.abc import Callable
from typing import Any

from .patches import repairs


@repairs.wrapping('mmrazor.models.architectures.heads.deit_head.DeiTClsHead.pre_logits')
def take_two_tokens(original: Callable, self: Any, feats: Any) -> Any:
    """Puts a placeholder in front of the two tokens that the head reads.

    Why: mmrazor's DeiT head unpacks three tokens, mmpretrain's backbone gives two.
    """
    tokens = feats[-1]
    # The first used to be the patch token, which the head never read.
    return original(self, [(None, *tokens)] if len(tokens) == 2 else feats)

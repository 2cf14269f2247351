"""Statistics of the teacher's and the simplified targets, for the log."""

import torch
from torch import Tensor

# Logits are compared in parts of about this many elements.
_MAX_ELEMENTS = 2**22


@torch.no_grad()
def compare_targets(
    pairs: list[tuple[Tensor, Tensor]], tau: float, use_sigmoid: bool = False
) -> dict[str, Tensor]:
    """Compares softened teacher logits with their simplified versions.

    Args:
        pairs (list[tuple[Tensor, Tensor]]): Logits before and after, (N, C) or
            (N, C, H, W) each.
        tau (float): Temperature.
        use_sigmoid (bool): Whether each class has a sigmoid of its own. The entropy
            is then the sum of the binary entropies. Defaults to False.

    Returns:
        dict[str, Tensor]: ``teacher_entropy`` and ``simplified_entropy`` in
        nats, and ``top1_agreement``, the share of samples whose top class stayed;
        scalars.
    """
    # A part at a time, since a copy of all logits of a map is large.
    pairs = [part for pair in pairs for part in zip(*map(_split, pair), strict=True)]
    same = [b.argmax(dim=1) == a.argmax(dim=1) for b, a in pairs]
    return {
        'teacher_entropy': _mean([_entropy(before, tau, use_sigmoid) for before, _ in pairs]),
        'simplified_entropy': _mean([_entropy(after, tau, use_sigmoid) for _, after in pairs]),
        'top1_agreement': _mean(same),
    }


def _split(logits: Tensor) -> tuple[Tensor, ...]:
    return logits.split(max(1, _MAX_ELEMENTS // logits[0].numel()))


def _entropy(logits: Tensor, tau: float, use_sigmoid: bool) -> Tensor:
    soft = logits.float() / tau
    if use_sigmoid:
        parts = torch.special.entr(soft.sigmoid()) + torch.special.entr((-soft).sigmoid())
    else:
        parts = torch.special.entr(soft.softmax(dim=1))
    return parts.sum(dim=1)


def _mean(values: list[Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in values]).mean(dtype=torch.float32)

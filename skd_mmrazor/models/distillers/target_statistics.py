"""Statistics of the teacher's and the simplified targets, for the log."""

import torch
from torch import Tensor

from ...utils.parts import in_parts


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

    def compare(before: Tensor, after: Tensor) -> Tensor:
        same = before.argmax(dim=1) == after.argmax(dim=1)
        entropies = [_entropy(logits, tau, use_sigmoid) for logits in (before, after)]
        return torch.stack([*entropies, same.float()], dim=1)

    # A copy of all logits of a map is large.
    found = [in_parts(compare, *pair) for pair in pairs]
    means = torch.cat([x.transpose(0, 1).flatten(1) for x in found], dim=1).mean(dim=1)
    return dict(
        zip(('teacher_entropy', 'simplified_entropy', 'top1_agreement'), means, strict=True)
    )


def _entropy(logits: Tensor, tau: float, use_sigmoid: bool) -> Tensor:
    soft = logits.float() / tau
    p = torch.cat([soft, -soft], dim=1).sigmoid() if use_sigmoid else soft.softmax(dim=1)
    return torch.special.entr(p).sum(dim=1)

"""Wide ResNet for CIFAR."""

from typing import Any

from mmrazor.models.architectures.backbones.wideresnet import BasicBlock, WideResNet
from torch import nn

from ...registry import MODELS
from ...utils import expect, is_integer


@MODELS.register_module(force=True)
class CIFARWideResNet(WideResNet):
    r"""WRN-d-k (`Zagoruyko and Komodakis <https://arxiv.org/abs/1605.07146>`_):
    mmrazor's ``WideResNet``, the same network, in any depth :math:`6n + 4`.

    Feature methods record ``backbone.layer1`` to ``backbone.layer3``, which are
    sums without a ReLU. The norm layers between these and the next ReLU are
    ``backbone.layer2.0.bn1``, ``backbone.layer3.0.bn1`` and ``backbone.bn1``. The
    ReLUs of mmrazor's class are in place, so that recorders on its norm layers
    record the output of the ReLU; these are not.

    Args:
        depth (int): 16, 40 or another :math:`6n + 4`.
        widen_factor (int): Width multiplier; the first stage has 16 times as many
            channels. Defaults to 1.
        kwargs: As in mmrazor's ``WideResNet``.

    Raises:
        ValueError: ``depth`` is no :math:`6n + 4`, or ``widen_factor`` not a
            positive integer.
    """

    arch_setting = {6 * n + 4: (BasicBlock, (n, n, n)) for n in range(1, 201)}

    def __init__(self, depth: int, widen_factor: int = 1, **kwargs: Any) -> None:
        known = is_integer(depth, 10) and depth in self.arch_setting
        expect(known, 'backbone.depth', depth, '6n + 4, such as 16 or 40')
        positive = is_integer(widen_factor, 1)
        expect(positive, 'backbone.widen_factor', widen_factor, 'a positive integer')
        super().__init__(depth, widen_factor, **kwargs)
        for module in self.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False

"""MobileNetV2 for CIFAR."""

from collections.abc import Sequence

from torch import Tensor, nn

from ...registry import MODELS
from ...utils import expect, is_number
from .staged_backbone import BATCH_NORM, KAIMING_INIT, StagedBackbone, conv_bn


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear bottleneck.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the depthwise convolution.
        expand_ratio (int): Ratio of the inner channels to those of the input.
        norm_cfg (dict): Config of the norm layers.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expand_ratio: int, norm_cfg: dict
    ) -> None:
        super().__init__()
        mid = in_channels * expand_ratio
        self.conv1 = nn.Sequential(conv_bn(in_channels, mid, 1, norm_cfg))
        self.conv2 = nn.Sequential(conv_bn(mid, mid, 3, norm_cfg, stride=stride, groups=mid))
        self.conv3 = nn.Sequential(conv_bn(mid, out_channels, 1, norm_cfg, relu=False))
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Computes the block: (N, C, H, W) to (N, C', H', W')."""
        out = self.conv3(self.conv2(self.conv1(x)))
        return x + out if self.has_shortcut else out


@MODELS.register_module(force=True)
class CIFARMobileNetV2(StagedBackbone):
    """MobileNetV2 (`Sandler et al. <https://arxiv.org/abs/1801.04381>`_) as the
    distillation literature has it for images of 32x32.

    It differs from mmpretrain's: the stage of 24 channels has stride 1, so that
    the last map is 2x2; ReLU, not ReLU6; channels are rounded down, not to
    multiples of 8; and the first block, too, has an expansion layer, of ratio 1.

    Feature methods record ``backbone.layer1`` to ``backbone.layer7``, which end
    in a linear bottleneck and so have no ReLU, and ``backbone.conv2``. The
    literature takes layers 2, 3, 5 and 7.

    Args:
        widen_factor (float): Width multiplier. Defaults to 0.5.
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Which of the seven layers and ``conv2``, 7,
            to return. Defaults to (7,).
        norm_cfg (dict): Config of the norm layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to
            Kaiming's, by fan-out.

    Raises:
        ValueError: ``widen_factor`` leaves a layer without channels, or
            ``out_indices`` names no stage.
    """

    # expand_ratio, channels, number of blocks, stride
    arch_settings = (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(
        self,
        widen_factor: float = 0.5,
        in_channels: int = 3,
        out_indices: Sequence[int] = (7,),
        norm_cfg: dict = BATCH_NORM,
        init_cfg: dict | list[dict] | None = KAIMING_INIT,
    ) -> None:
        sound = is_number(widen_factor) and widen_factor >= 1 / 16
        expect(sound, 'backbone.widen_factor', widen_factor, 'a number from 1/16 up')
        channels = int(32 * widen_factor)
        stem = nn.Sequential(conv_bn(in_channels, channels, 3, norm_cfg, stride=2))
        stages: dict[str, nn.Module] = {}
        for i, (expand_ratio, width, num_blocks, stride) in enumerate(self.arch_settings):
            blocks = []
            for block in range(num_blocks):
                out_channels = int(width * widen_factor)
                blocks.append(
                    InvertedResidual(
                        channels, out_channels, 1 if block else stride, expand_ratio, norm_cfg
                    )
                )
                channels = out_channels
            stages[f'layer{i + 1}'] = nn.Sequential(*blocks)
        last = int(1280 * max(widen_factor, 1))
        stages['conv2'] = nn.Sequential(conv_bn(channels, last, 1, norm_cfg))
        super().__init__(stages, stem, out_indices, init_cfg)

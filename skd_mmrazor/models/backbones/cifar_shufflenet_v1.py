"""ShuffleNetV1 for CIFAR."""

from collections.abc import Sequence

import torch
from mmpretrain.models.utils import channel_shuffle
from torch import Tensor, nn

from ...registry import MODELS
from .staged_backbone import BATCH_NORM, StagedBackbone, conv_bn


class ShuffleUnit(nn.Module):
    """Pointwise group convolution, shuffle, depthwise and pointwise group
    convolution, beside a shortcut.

    The shortcut is added at stride 1; at stride 2 it is pooled and concatenated, and
    its channels are part of ``out_channels``.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): 1 or 2.
        groups (tuple[int, int]): Groups of the two pointwise convolutions.
        norm_cfg (dict): Config of the norm layers.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups: tuple[int, int],
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        if stride == 2:
            out_channels -= in_channels
        mid = out_channels // 4
        self.groups = groups[0]
        self.conv1 = nn.Sequential(conv_bn(in_channels, mid, 1, norm_cfg, groups=groups[0]))
        self.conv2 = nn.Sequential(conv_bn(mid, mid, 3, norm_cfg, stride=stride, groups=mid))
        self.conv3 = nn.Sequential(
            conv_bn(mid, out_channels, 1, norm_cfg, relu=False, groups=groups[1])
        )
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Computes the unit: (N, C, H, W) to (N, C', H', W')."""
        out = channel_shuffle(self.conv1(x), self.groups)
        out = self.conv3(self.conv2(out))
        out = out + x if self.pool is None else torch.cat([out, self.pool(x)], dim=1)
        return self.relu(out)


@MODELS.register_module(force=True)
class CIFARShuffleNetV1(StagedBackbone):
    """ShuffleNet 1x, g = 3 (`Zhang et al. <https://arxiv.org/abs/1707.01083>`_), as
    the distillation literature has it for images of 32x32.

    It differs from mmpretrain's: the stem is one 1x1 convolution; the inner channels
    of a unit at stride 2 are a fourth of the channels that its branch adds; a ReLU
    follows the depthwise convolution, and the shuffle comes before it.

    Feature methods record ``backbone.layer1`` to ``backbone.layer3``; before the
    last ReLU of a stage, ``ModuleInputs`` of ``backbone.layer1.3.relu``,
    ``backbone.layer2.7.relu`` and ``backbone.layer3.3.relu``, with ``data_idx=0``.

    Args:
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Which stages to return. Defaults to (2,).
        norm_cfg (dict): Config of the norm layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to
            None, torch's own, with which the literature trains this network.

    Raises:
        ValueError: ``out_indices`` names no stage.
    """

    groups = 3
    # channels, number of units
    arch_settings = ((240, 4), (480, 8), (960, 4))

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (2,),
        norm_cfg: dict = BATCH_NORM,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        channels = 24
        stem = nn.Sequential(conv_bn(in_channels, channels, 1, norm_cfg))
        stages: dict[str, nn.Module] = {}
        for i, (width, num_units) in enumerate(self.arch_settings):
            units = []
            for unit in range(num_units):
                # The stem's few channels are not worth groups (section 3.2).
                first = 1 if i == unit == 0 else self.groups
                groups = (first, self.groups)
                units.append(ShuffleUnit(channels, width, 1 if unit else 2, groups, norm_cfg))
                channels = width
            stages[f'layer{i + 1}'] = nn.Sequential(*units)
        super().__init__(stages, stem, out_indices, init_cfg)

"""The base of plain networks: a stem, and stages by name."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from ...utils import expect, is_integer

BATCH_NORM = dict(type='BN')
KAIMING_INIT = dict(type='Kaiming', layer='Conv2d')
# torch's own initialisation of a convolution, which mmcv's ConvModule replaces.
TORCH_INIT = dict(
    type='Kaiming',
    layer='Conv2d',
    a=5**0.5,
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='uniform',
)


def conv_bn(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    norm_cfg: dict,
    bias: bool = False,
    relu: bool = True,
    suffix: str = '',
    **kwargs: Any,
) -> OrderedDict[str, nn.Module]:
    """A convolution, a norm layer and a ReLU, by name, for ``nn.Sequential``.

    The ReLU is not in place, which would overwrite the recorded output of ``bn``.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_size (int): Kernel size of the convolution, which is padded by half of it.
        norm_cfg (dict): Config of the norm layer.
        bias (bool): Whether the convolution has one. Defaults to False.
        relu (bool): Whether a ReLU follows. Defaults to True.
        suffix (str): A suffix of the names. Defaults to ''.
        kwargs: ``stride`` and ``groups`` of the convolution.

    Returns:
        OrderedDict[str, nn.Module]: ``conv``, ``bn`` and ``relu``.
    """
    conv = build_conv_layer(
        None, in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias, **kwargs
    )
    layers = {'conv': conv, 'bn': build_norm_layer(norm_cfg, out_channels)[1]}
    if relu:
        layers['relu'] = nn.ReLU()
    return OrderedDict((name + suffix, layer) for name, layer in layers.items())


def check_out_indices(out_indices: Any, num_stages: int) -> None:
    """Raises a ValueError unless every index is that of a stage."""
    sound = isinstance(out_indices, Sequence) and all(
        is_integer(index, 0) and index < num_stages for index in out_indices
    )
    expected = f'a sequence of integers from 0 to {num_stages - 1}'
    expect(sound and len(out_indices) > 0, 'backbone.out_indices', out_indices, expected)


class StagedBackbone(BaseBackbone):
    """A stem followed by stages, each a submodule with a name of its own.

    Args:
        stages (dict[str, nn.Module]): The stages in their order.
        stem (nn.Module, optional): Comes first, as ``conv1``.
        out_indices (Sequence[int]): Which stages to return, counted from 0
            without the stem.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to None.

    Raises:
        ValueError: ``out_indices`` names no stage.
    """

    def __init__(
        self,
        stages: dict[str, nn.Module],
        stem: nn.Module | None,
        out_indices: Sequence[int],
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_out_indices(out_indices, len(stages))
        self.out_indices = out_indices
        self.conv1 = stem
        self.stages = list(stages)
        for name, stage in stages.items():
            self.add_module(name, stage)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps.

        Args:
            x (Tensor): Images, (N, C, H, W).

        Returns:
            tuple[Tensor, ...]: One of (N, C', H, W) for each of ``out_indices``.
        """
        if self.conv1 is not None:
            x = self.conv1(x)
        outs = []
        for index, name in enumerate(self.stages):
            x = getattr(self, name)(x)
            if index in self.out_indices:
                outs.append(x)
        return tuple(outs)

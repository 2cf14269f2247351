"""MobileNetV1, for ImageNet."""

from collections.abc import Sequence

from mmcv.cnn import DepthwiseSeparableConvModule
from torch import nn

from ...registry import MODELS
from .staged_backbone import BATCH_NORM, TORCH_INIT, StagedBackbone, conv_bn


@MODELS.register_module(force=True)
class MobileNetV1(StagedBackbone):
    """MobileNetV1 1.0 (`Howard et al. <https://arxiv.org/abs/1704.04861>`_), the
    "MobileNet" of the distillation literature on ImageNet; mmpretrain has V2 and V3.

    A stem of 32 channels and thirteen depthwise separable convolutions, which end in
    1,024 channels at 1/32 of the resolution: 3,206,976 parameters, and with a head of
    1,000 classes 4,231,976.

    Feature methods record ``backbone.layer1`` to ``backbone.layer4``; before the last
    ReLU of a stage of k blocks, ``backbone.layer4.{k-1}.pointwise_conv.bn``.

    Args:
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Which of the four stages to return. Defaults to
            (3,).
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to torch's own,
            with which the literature trains this network.

    Raises:
        ValueError: ``out_indices`` names no stage.
    """

    # (channels, stride) of the blocks of each stage
    arch_settings = (
        ((64, 1), (128, 2), (128, 1)),
        ((256, 2), (256, 1)),
        ((512, 2), *((512, 1),) * 5),
        ((1024, 2), (1024, 1)),
    )

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (3,),
        norm_cfg: dict = BATCH_NORM,
        init_cfg: dict | list[dict] | None = TORCH_INIT,
    ) -> None:
        channels = 32
        stem = nn.Sequential(conv_bn(in_channels, channels, 3, norm_cfg, stride=2))
        # Not in place, which would overwrite the recorded output of a norm layer.
        act_cfg = dict(type='ReLU', inplace=False)
        stages: dict[str, nn.Module] = {}
        for i, stage in enumerate(self.arch_settings):
            blocks = []
            for width, stride in stage:
                blocks.append(
                    DepthwiseSeparableConvModule(
                        *(channels, width, 3),
                        stride=stride,
                        padding=1,
                        norm_cfg=norm_cfg,
                        act_cfg=act_cfg,
                    )
                )
                channels = width
            stages[f'layer{i + 1}'] = nn.Sequential(*blocks)
        super().__init__(stages, stem, out_indices, init_cfg)

"""ShuffleNetV2 for CIFAR."""

from collections.abc import Sequence

from mmpretrain.models.backbones.shufflenet_v2 import InvertedResidual
from torch import nn

from ...registry import MODELS
from .staged_backbone import BATCH_NORM, TORCH_INIT, StagedBackbone, conv_bn


@MODELS.register_module(force=True)
class CIFARShuffleNetV2(StagedBackbone):
    """ShuffleNetV2 1x (`Ma et al. <https://arxiv.org/abs/1807.11164>`_) as the
    distillation literature has it for images of 32x32: mmpretrain's blocks on a
    stem of one 1x1 convolution.

    Feature methods record ``backbone.layer1`` to ``backbone.layer3`` and
    ``backbone.conv2``. Half of a block's output is its input, so there is no map
    before the last ReLU of a stage; ``backbone.layer3.3.branch2.2.bn`` is the
    other half, before the shuffle.

    Args:
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Which of the three stages and ``conv2``, 3,
            to return. Defaults to (3,).
        norm_cfg (dict): Config of the norm layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to
            torch's own, with which the literature trains this network.

    Raises:
        ValueError: ``out_indices`` names no stage.
    """

    # channels, number of blocks
    arch_settings = ((116, 4), (232, 8), (464, 4))

    def __init__(
        self,
        in_channels: int = 3,
        out_indices: Sequence[int] = (3,),
        norm_cfg: dict = BATCH_NORM,
        init_cfg: dict | list[dict] | None = TORCH_INIT,
    ) -> None:
        channels = 24
        stem = nn.Sequential(conv_bn(in_channels, channels, 1, norm_cfg))
        act_cfg = dict(type='ReLU', inplace=False)
        stages: dict[str, nn.Module] = {}
        for i, (width, num_blocks) in enumerate(self.arch_settings):
            blocks = []
            for block in range(num_blocks):
                stride = 1 if block else 2
                blocks.append(
                    InvertedResidual(channels, width, stride, norm_cfg=norm_cfg, act_cfg=act_cfg)
                )
                channels = width
            stages[f'layer{i + 1}'] = nn.Sequential(*blocks)
        stages['conv2'] = nn.Sequential(conv_bn(channels, 1024, 1, norm_cfg))
        super().__init__(stages, stem, out_indices, init_cfg)

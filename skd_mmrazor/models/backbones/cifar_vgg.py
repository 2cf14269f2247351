"""VGG for CIFAR."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from ...registry import MODELS
from ...utils import expect
from .staged_backbone import BATCH_NORM, KAIMING_INIT, StagedBackbone, conv_bn


@MODELS.register_module(force=True)
class CIFARVGG(StagedBackbone):
    """VGG with batch norm (`Simonyan and Zisserman <https://arxiv.org/abs/1409.1556>`_).

    Five stages of 3x3 convolutions. On images of 32x32 the distillation
    literature pools between the first four stages only, so that the last two
    have maps of 4x4, and has one linear layer in place of three. Depth 8 is not
    the paper's: one convolution a stage.

    Feature methods record ``backbone.layer1`` to ``backbone.layer5``; before the
    last ReLU of a stage of k convolutions, ``backbone.layer5.bn{k}``.

    Args:
        depth (int): 8, 11, 13, 16 or 19.
        in_channels (int): Channels of the images. Defaults to 3.
        out_indices (Sequence[int]): Which stages to return. Defaults to (4,).
        norm_cfg (dict): Config of the norm layers. Defaults to
            ``dict(type='BN')``.
        init_cfg (dict | list[dict], optional): Initialisation. Defaults to
            Kaiming's, by fan-out.

    Raises:
        ValueError: ``depth`` is not one of these, or ``out_indices`` names no
            stage.
    """

    arch_settings = {
        8: (1, 1, 1, 1, 1),
        11: (1, 1, 2, 2, 2),
        13: (2, 2, 2, 2, 2),
        16: (2, 2, 3, 3, 3),
        19: (2, 2, 4, 4, 4),
    }
    channels = (64, 128, 256, 512, 512)

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        out_indices: Sequence[int] = (4,),
        norm_cfg: dict = BATCH_NORM,
        init_cfg: dict | list[dict] | None = KAIMING_INIT,
    ) -> None:
        known = list(self.arch_settings)
        expect(depth in known, 'backbone.depth', depth, f'one of {known}')
        stages: dict[str, nn.Module] = {}
        for i, num_convs in enumerate(self.arch_settings[depth]):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if i in (1, 2, 3):
                layers['pool'] = nn.MaxPool2d(2)
            for k in range(1, num_convs + 1):
                layers.update(
                    conv_bn(in_channels, self.channels[i], 3, norm_cfg, suffix=str(k), bias=True)
                )
                in_channels = self.channels[i]
            stages[f'layer{i + 1}'] = nn.Sequential(layers)
        super().__init__(stages, None, out_indices, init_cfg)

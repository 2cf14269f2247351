"""ResNet with three stages, for CIFAR."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.backbones.resnet import BasicBlock
from mmpretrain.models.backbones.resnet_cifar import ResNet_CIFAR
from torch import nn

from ...registry import MODELS
from ...utils import expect, is_integer
from .staged_backbone import check_out_indices


@MODELS.register_module(force=True)
class CIFARResNet(ResNet_CIFAR):
    r"""ResNet of depth :math:`6n + 2` (`He et al. <https://arxiv.org/abs/1512.03385>`_,
    section 4.2).

    Three stages of :math:`n` basic blocks, of 16, 32 and 64 channels. Shortcuts
    that change the shape are projections, as the distillation literature has
    them, where the paper has none. Its ``resnet8x4`` and ``resnet32x4`` have
    stages four times as wide, on a stem that is twice as wide.
    (mmpretrain's ``ResNet_CIFAR`` is ImageNet's ResNet-18 to 152 with a small
    stem.)

    Feature methods record ``backbone.layer1`` to ``backbone.layer3``; before the
    last ReLU of a stage, ``backbone.layer3.{n-1}.bn2``, to which the block has
    added its shortcut.

    Args:
        depth (int): 20, 32, 44, 56, 110 or another :math:`6n + 2`, up to 1202.
        stem_channels (int): Channels of ``conv1``. Defaults to 16.
        base_channels (int): Channels of the first stage. Defaults to 16.
        out_indices (Sequence[int]): Which stages to return. Defaults to (2,).
        zero_init_residual (bool): Whether each block starts as the identity.
            Defaults to False.
        kwargs: As in mmpretrain's ``ResNet``.

    Raises:
        ValueError: ``depth`` is no :math:`6n + 2`, or ``out_indices`` names no
            stage.
    """

    arch_settings = {6 * n + 2: (BasicBlock, (n, n, n)) for n in range(1, 201)}

    def __init__(
        self,
        depth: int,
        stem_channels: int = 16,
        base_channels: int = 16,
        out_indices: Sequence[int] = (2,),
        zero_init_residual: bool = False,
        **kwargs: Any,
    ) -> None:
        known = is_integer(depth, 8) and depth in self.arch_settings
        expect(known, 'backbone.depth', depth, '6n + 2, such as 20 or 110')
        check_out_indices(out_indices, 3)
        super().__init__(
            depth,
            stem_channels=stem_channels,
            base_channels=base_channels,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=out_indices,
            zero_init_residual=zero_init_residual,
            **kwargs,
        )

    def make_res_layer(self, **kwargs: Any) -> nn.Module:
        """Makes a stage whose ReLUs do not overwrite the recorded output of ``bn2``."""
        return super().make_res_layer(act_cfg=dict(type='ReLU'), **kwargs)

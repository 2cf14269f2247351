"""The regressor of FitNets."""

from typing import Any

from mmrazor.models.architectures.connectors import ConvModuleConnector
from mmrazor.registry import MODELS


@MODELS.register_module()
class FitNetsConnector(ConvModuleConnector):
    """Convolution with a bias, batch norm and ReLU, as the literature has them between
    the student's hint and the teacher's (`FitNets <https://arxiv.org/abs/1412.6550>`_).

    ``ConvModuleConnector`` has no bias beside a norm layer, and initialises the
    convolution by Kaiming's rule whatever its ``init_cfg``. Here it keeps torch's
    default initialisation.

    Args:
        in_channel (int): Channels of the student's feature map.
        out_channel (int): Channels of the teacher's.
        **kwargs: As for ``ConvModuleConnector``.
    """

    def __init__(self, in_channel: int, out_channel: int, **kwargs: Any) -> None:
        kwargs = dict(bias=True, norm_cfg=dict(type='BN')) | kwargs
        super().__init__(in_channel, out_channel, **kwargs)
        self.conv_module.conv.reset_parameters()

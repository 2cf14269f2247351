"""Convolutions in the memory format that hardware prefers."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import nn

from ...utils import expect
from ..utils import get_model


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains convolutional networks in ``torch.channels_last``.

    Tensor cores of GPUs, under autocast above all, and oneDNN on CPUs compute
    convolutions with the channels innermost, and convert other layouts in every
    layer. This hook converts the weights once, and torch passes the layout on from
    layer to layer. Shapes and checkpoints do not change, and the training only by
    rounding.
    (https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html)

    It is for any model, with a teacher or without. ``FrozenTeacherHook`` does the
    same for a teacher alone, and more.

    Note:
        Recorded feature maps are no longer contiguous. A loss that takes a
        ``view`` of them, in place of ``reshape`` or ``flatten``, ends the run on
        its first batch.

        Under ``DistributedDataParallel`` torch warns that the strides of
        gradients are not those of its buckets: it copies them.

        On a CPU a strided 1x1 convolution of fewer than 8 channels is refused where it
        is trained. oneDNN writes its gradient past the end of a buffer: numbers are
        wrong, or the process ends. (https://github.com/uxlfoundation/oneDNN/issues/6035)

    Examples:
        >>> custom_hooks = [dict(type='mmrazor.ChannelsLastHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Converts the weights.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: oneDNN cannot train one of the convolutions in this format.
        """
        model = get_model(runner)
        for name, module in model.named_modules():
            is_trained = isinstance(module, nn.Conv2d) and module.weight.requires_grad
            if not is_trained or module.weight.device.type != 'cpu':
                continue
            if module.kernel_size == (1, 1) and max(module.stride) > 1:
                key, found = f'ChannelsLastHook: in_channels of {name}', module.in_channels
                expected = 'at least 8 on a CPU, for a strided 1x1 convolution (oneDNN issue 6035)'
                expect(found >= 8, key, found, expected)
        # Only four-dimensional weights change: convolutions of 1D and 3D stay.
        model.to(memory_format=torch.channels_last)

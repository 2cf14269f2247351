"""Convolutions in the memory format that hardware prefers."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ..utils import get_model


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains convolutional networks in ``torch.channels_last``.

    Tensor cores of GPUs, under autocast above all, and oneDNN on CPUs compute
    convolutions with the channels innermost, and turn other layouts around for
    every layer. This hook lays out the weights so, once, and torch passes the
    layout on from layer to layer. Shapes, checkpoints and what is learnt stay as
    they are, up to rounding.
    (https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html)

    It is for any model, with a teacher or without. ``FrozenTeacherHook`` does the
    same for a teacher alone, and more.

    Note:
        Recorded feature maps are no longer contiguous. A loss that takes a
        ``view`` of them, in place of ``reshape`` or ``flatten``, ends the run on
        its first batch.

        Under ``DistributedDataParallel`` torch warns that the strides of
        gradients are not those of its buckets: it copies them.

    Examples:
        >>> custom_hooks = [dict(type='mmrazor.ChannelsLastHook')]
    """

    def before_train(self, runner: Runner) -> None:
        """Lays out the weights.

        Args:
            runner (Runner): The runner of the training process.
        """
        # Convolutions of one and three dimensions have other formats, and stay.
        get_model(runner).to(memory_format=torch.channels_last)

"""What the heads of OpenMMLab say of their logits: classes, sigmoid, anchors, levels."""

from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ....utils.descriptions import describe

# What the heads of mmdetection, mmsegmentation and mmpretrain call the width of the logits.
_CLASS_COUNTS = ('cls_out_channels', 'out_channels', 'num_classes')
# What heads call the loss of their logits.
LOSSES = ('loss_module', 'loss_cls', 'loss_decode', 'loss_center_heatmap')
# What heads call their anchors; SABL has two kinds.
_GENERATORS = ('prior_generator', 'square_anchor_generator', 'approx_anchor_generator')
_OF_OVERLAPS = ('QualityFocalLoss', 'VarifocalLoss')
# Settings of anchors that follow from others, or only say how boxes are stored.
_SAID_BY_OTHERS = {'base_anchors', 'octave_base_scale', 'scales_per_octave', 'use_box_type'}


def is_kind(module: Any, *names: str) -> bool:
    """Whether the class of an object, or one of its bases, has one of the names."""
    return any(kind.__name__ in names for kind in type(module).__mro__)


def get_last_layer(module: nn.Module | None) -> Any:
    """The last linear layer or convolution of a module, None if it has none."""
    layers = [m for m in module.modules() if isinstance(m, (nn.Linear, _ConvNd))] if module else []
    return layers[-1] if layers else None


def get_width(module: nn.Module | None) -> int | None:
    """The number of outputs of the last linear layer or convolution of a module."""
    layer = get_last_layer(module)
    return getattr(layer, 'out_features', getattr(layer, 'out_channels', None))


def get_num_classes(head: nn.Module) -> int | None:
    """The number of classes of a head, with a background that has a logit; None if unknown."""
    # Anchor3DHead's width is that of all anchors.
    keys = ['num_classes'] if is_kind(head, 'Anchor3DHead') else _CLASS_COUNTS
    sizes = [getattr(head, key, None) for key in keys]
    return next((size for size in sizes if isinstance(size, int)), None)


def has_sigmoid(head: nn.Module) -> bool:
    """Whether a head has a sigmoid for each class, and no softmax over all."""
    if hasattr(head, 'use_sigmoid_cls'):
        return bool(head.use_sigmoid_cls)
    loss: Any = next((getattr(head, key) for key in LOSSES if hasattr(head, key)), None)
    losses = loss if isinstance(loss, nn.ModuleList) else [loss]
    # The classes have a softmax if one loss takes it: DiceLoss has a sigmoid by default.
    return all(_is_sigmoid(head, part) for part in losses)


def _is_sigmoid(head: nn.Module, loss: Any) -> bool:
    loss = getattr(loss, 'ce', loss)  # Of mmpretrain's LabelSmoothLoss.
    # Sigmoid without such an attribute: mmpretrain's multi-label heads, and these losses.
    is_binary = is_kind(loss, 'GaussianFocalLoss', 'BCELossWithLogits')
    return bool(getattr(loss, 'use_sigmoid', is_binary or is_kind(head, 'MultiLabelClsHead')))


def get_settings(head: nn.Module) -> dict[str, Any]:
    """What must be equal in the dense heads of both models.

    Args:
        head (nn.Module): A head of a detector; of others there is nothing.

    Returns:
        dict[str, Any]: The settings of its anchors, whether its scores are probabilities or
        overlaps, and the sizes of the objects of each level, as far as it has them.
    """
    found: dict[str, Any] = {}
    if hasattr(head, 'cls_out_channels'):
        for key in ('regress_ranges', 'scale_ranges'):
            found[key] = describe(getattr(head, key, None))
    for name, anchors in _get_generators(head).items():
        # The scores of equal anchors may be overlaps instead of probabilities.
        loss = type(getattr(head, 'loss_cls', None)).__name__
        found['scores'] = 'overlaps' if loss in _OF_OVERLAPS else 'probabilities'
        for key, value in describe(anchors).items():
            if key not in _SAID_BY_OTHERS:
                found[f'{name.replace("prior_generator", "anchors")}.{key}'] = value
    return found


def get_num_levels(head: nn.Module) -> int:
    """The number of levels of the pyramid that a head is for; 1 if unknown."""
    generators = _get_generators(head).values()
    return next((getattr(anchors, 'num_levels', 1) for anchors in generators), 1)


def _get_generators(head: nn.Module) -> dict[str, Any]:
    found = {key: getattr(head, key, None) for key in _GENERATORS}
    return {key: generator for key, generator in found.items() if generator is not None}

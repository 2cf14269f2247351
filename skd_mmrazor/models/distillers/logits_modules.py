"""The modules that compute the logits in the models of OpenMMLab."""

import re
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

# The module of the logits within a head, by the class of the head or of its base.
LOGITS_MODULES = {
    # mmpretrain
    **dict.fromkeys(('LinearClsHead', 'MultiLabelLinearClsHead'), 'fc'),
    'VisionTransformerClsHead': 'layers.head',
    # mmaction
    **dict.fromkeys(('I3DHead', 'SlowFastHead', 'TSMHead', 'TSNHead', 'X3DHead'), 'fc_cls'),
    # mmsegmentation
    'BaseDecodeHead': 'conv_seg',
    # mmdetection
    'AnchorHead': 'conv_cls',
    'AnchorFreeHead': 'conv_cls',
    **dict.fromkeys(('ATSSHead', 'DDODHead'), 'atss_cls'),
    # Their score is a product, of which no module has the logits.
    **dict.fromkeys(('AutoAssignHead', 'TOODHead', 'YOLOFHead'), None),
    'GFLHead': 'gfl_cls',
    'RepPointsHead': 'reppoints_cls_out',
    **dict.fromkeys(('RetinaHead', 'RetinaSepBNHead', 'SABLRetinaHead'), 'retina_cls'),
    'RPNHead': 'rpn_cls',
    'VFNetHead': 'vfnet_cls',
    # mmdetection3d
    'AnchorFreeMono3DHead': 'conv_cls',
}


def find_logits_modules(model: nn.Module) -> list[str]:
    """The names of the modules whose outputs are the logits of a model.

    Args:
        model (nn.Module): A model of an OpenMMLab package.

    Returns:
        list[str]: Those of the heads in :data:`LOGITS_MODULES`, without auxiliary
        heads, and of a cascade (a list of heads) the last; ``'head.fc'`` if no head is
        known.
    """
    modules = dict(model.named_modules())
    found: dict[str, str] = {}
    for name, module in modules.items():
        kinds = [kind.__name__ for kind in type(module).__mro__ if kind.__name__ in LOGITS_MODULES]
        if kinds and LOGITS_MODULES[kinds[0]] and 'auxiliary' not in name:
            source = f'{name}.{LOGITS_MODULES[kinds[0]]}'.lstrip('.')
            cascade = re.sub(r'\.\d+$', '', name)
            # PointRend's last head, of sampled points, has no such module.
            if source in modules or cascade not in found:
                found[cascade] = source
    return list(found.values()) or ['head.fc']


def is_inner(name: str, layer: nn.Module | None) -> bool:
    """Whether a layer of a backbone or neck is not a classifier, which is linear."""
    # Such as ``img_neck``, and not ``bottleneck``.
    inside = re.search(r'(^|[._])(backbone|neck)(\.|$)', name)
    return bool(inside) and not isinstance(layer, nn.Linear)


def describe_model(side: str, model: nn.Module) -> str:
    """Names a model, and its layers that are as wide as its classes, in a message."""
    counts, layers = get_class_counts(model), {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, _ConvNd)) and not is_inner(name, module):
            layers[name] = get_width(module) or 0
    wide = [n for n, width in layers.items() if any(width % count == 0 for count in counts)]
    return f'the {side} {type(model).__name__}, whose layers as wide as its classes are {wide}'


def get_last_layer(module: nn.Module | None) -> Any:
    """The last linear layer or convolution of a module, None if it has none."""
    layers = [m for m in module.modules() if isinstance(m, (nn.Linear, _ConvNd))] if module else []
    return layers[-1] if layers else None


def get_width(module: nn.Module | None) -> int | None:
    """The number of outputs of the last linear layer or convolution of a module."""
    layer = get_last_layer(module)
    return getattr(layer, 'out_features', getattr(layer, 'out_channels', None))


def get_class_counts(model: nn.Module) -> set[int]:
    """The values of ``num_classes`` of all modules of a model."""
    counts: set[Any] = {getattr(module, 'num_classes', None) for module in model.modules()}
    return {count for count in counts if isinstance(count, int) and count > 1}


def get_head(model: nn.Module, source: str) -> nn.Module:
    """The head that a module belongs to: its nearest parent with ``num_classes``.

    Args:
        model (nn.Module): The model. It is returned if no parent is a head.
        source (str): The name of the module of the logits, which may not exist.
    """
    parts = source.split('.')
    modules = dict(model.named_modules())
    owners = [modules.get('.'.join(parts[:end])) for end in range(len(parts) - 1, -1, -1)]
    return next((head for head in owners if head and hasattr(head, 'num_classes')), model)


def has_sigmoid(head: nn.Module) -> bool:
    """Whether a head has a sigmoid for each class, and not a softmax over all."""
    loss = getattr(head, 'loss_module', getattr(head, 'loss_cls', None))
    # mmpretrain's focal loss, of its multi-label heads, has no such attribute.
    is_multi_label = any(kind.__name__ == 'MultiLabelClsHead' for kind in type(head).__mro__)
    is_sigmoid = getattr(head, 'use_sigmoid_cls', getattr(loss, 'use_sigmoid', is_multi_label))
    return bool(is_sigmoid)

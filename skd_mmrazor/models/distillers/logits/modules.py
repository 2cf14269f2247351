"""The modules that compute the logits in the models of OpenMMLab."""

import re
from collections import Counter
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
    'IterativeDecodeHead': None,  # Its kernels are refined, and no convolution.
    # mmdetection
    'AnchorHead': 'conv_cls',
    'AnchorFreeHead': 'conv_cls',
    **dict.fromkeys(('ATSSHead', 'DDODHead'), 'atss_cls'),
    # Their score is a product of two outputs: no module computes its logits.
    **dict.fromkeys(('AutoAssignHead', 'TOODHead', 'YOLOFHead'), None),
    'GFLHead': 'gfl_cls',
    'RepPointsHead': 'reppoints_cls_out',
    **dict.fromkeys(('RetinaHead', 'RetinaSepBNHead', 'SABLRetinaHead'), 'retina_cls'),
    'RPNHead': 'rpn_cls',
    'VFNetHead': 'vfnet_cls',
    # mmdetection3d
    **dict.fromkeys(('Anchor3DHead', 'AnchorFreeMono3DHead'), 'conv_cls'),
    'Base3DDecodeHead': 'conv_seg',
}
# What the heads of mmdetection, mmsegmentation and mmpretrain call the width of the logits.
_CLASS_COUNTS = ('cls_out_channels', 'out_channels', 'num_classes')
# What heads call the loss of their logits.
_LOSSES = ('loss_module', 'loss_cls', 'loss_decode', 'loss_center_heatmap')


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
        child = get_child(module)
        if child and 'auxiliary' not in name and not _is_without_logits(modules, name):
            source = f'{name}.{child}'.lstrip('.')
            cascade = re.sub(r'\.\d+$', '', name)
            # PointRend's last head, of sampled points, has no such module.
            if source in modules or cascade not in found:
                found[cascade] = source
    return list(found.values()) or ['head.fc']


def get_child(head: nn.Module) -> str | None:
    """The name of the logits' module in a head: None if it has none, '' if it is not known."""
    return next((LOGITS_MODULES[name] for name in get_kinds(head) if name in LOGITS_MODULES), '')


def _is_without_logits(modules: dict[str, nn.Module], name: str) -> bool:
    """Whether a module is part of a head without a module of the logits."""
    parts = name.split('.')
    parents = ('.'.join(parts[:end]) for end in range(len(parts)))
    return any(get_child(modules[parent]) is None for parent in parents if parent in modules)


def get_kinds(module: nn.Module) -> dict[str, None]:
    """The names of the class of a module and of its bases, in their order."""
    return dict.fromkeys(kind.__name__ for kind in type(module).__mro__)


def is_feature(model: nn.Module, source: str) -> bool:
    """Whether a module is known to compute features, or boxes, and no logits.

    A linear layer is not: a backbone may end in its classifier, and a head have several.

    Args:
        model (nn.Module): The model.
        source (str): The name of the module.
    """
    modules, head = dict(model.named_modules()), get_head(model, source)
    module = modules.get(source)
    if module is None or isinstance(get_last_layer(module), nn.Linear):
        return False
    # Matches img_neck, but not bottleneck.
    if re.search(r'(^|[._])(backbone|neck)(\.|$)', source) or get_child(module):
        return True
    if _is_without_logits(modules, source):
        return True
    return getattr(head, get_child(head) or '', module) is not module


def is_of_proposals(source: str) -> bool:
    """Whether a module, or a method of mmdet.models.roi_heads, is of a head of proposals."""
    # HTC has a head of the whole image there.
    return 'roi_head' in source and 'semantic_head' not in source


def describe_model(side: str, model: nn.Module) -> str:
    """Names a model, and modules that may have its logits, in a message."""
    modules = dict(model.named_modules())
    names = [name for name in find_logits_modules(model) if name in modules]
    if not names:
        counts = get_class_counts(model) or {1}
        kind: Any = _ConvNd if has_locations(model) else (nn.Linear, _ConvNd)
        for name, module in modules.items():
            width = get_width(module) if isinstance(module, kind) else None
            fits = width and any(width % count == 0 for count in counts)
            if fits and not is_feature(model, name) and not is_of_proposals(name):
                names.append(name)
        if has_locations(model):  # Not one of several modules, each for one level or task.
            patterns = Counter(re.sub(r'\.\d+', '.*', name) for name in names)
            names = [name for name in names if patterns[re.sub(r'\.\d+', '.*', name)] == 1]
    found = (
        f'whose logits may be of {names}' if names else 'none of whose layers is known for logits'
    )
    return f'the {side} {type(model).__name__}, {found}'


def has_locations(model: nn.Module) -> bool:
    """Whether a model is a detector or segmentor, whose logits are of locations."""
    kinds = {'BaseDetector', 'BaseSegmentor', 'Base3DDetector', 'Base3DSegmentor'}
    return bool(kinds & {*get_kinds(model)})


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
    counts = [getattr(module, 'num_classes', None) for module in model.modules()]
    return {count for count in counts if isinstance(count, int) and count > 1}


def get_num_classes(head: nn.Module) -> int | None:
    """The number of classes of a head, with a background that has a logit; None if unknown."""
    # Anchor3DHead's width is that of all anchors.
    keys = ['num_classes'] if 'Anchor3DHead' in get_kinds(head) else _CLASS_COUNTS
    sizes = [getattr(head, key, None) for key in keys]
    return next((size for size in sizes if isinstance(size, int)), None)


def get_head(model: nn.Module, source: str) -> nn.Module:
    """The head that a module belongs to: itself or its nearest parent with ``num_classes``.

    Args:
        model (nn.Module): The model. It is returned if no parent is a head.
        source (str): The name of the module of the logits, which may not exist.
    """
    return _find_owner(model, source, ('num_classes',)) or model


def _find_owner(model: nn.Module, source: str, attributes: tuple[str, ...]) -> nn.Module | None:
    modules, parts = dict(model.named_modules()), source.split('.')
    owners = [modules.get('.'.join(parts[:end])) for end in range(len(parts), -1, -1)]
    found = (owner for owner in owners if any(hasattr(owner, key) for key in attributes))
    return next(found, None)


def has_sigmoid(model: nn.Module, source: str) -> bool:
    """Whether a model has a sigmoid for each class of a module, and no softmax over all.

    Args:
        model (nn.Module): The model.
        source (str): The name of the module of the logits.
    """
    # The logits of a backbone are those of the model's head.
    owner = _find_owner(model, source, (*_LOSSES, 'use_sigmoid_cls'))
    head = getattr(model, 'head', model) if owner is None else owner
    if hasattr(head, 'use_sigmoid_cls'):
        return bool(head.use_sigmoid_cls)
    loss: Any = next((getattr(head, key) for key in _LOSSES if hasattr(head, key)), None)
    # Of several the classes have a softmax if one takes it: DiceLoss has a sigmoid by default.
    return all(
        _is_sigmoid(head, part) for part in (loss if isinstance(loss, nn.ModuleList) else [loss])
    )


def _is_sigmoid(head: nn.Module, loss: Any) -> bool:
    loss = getattr(loss, 'ce', loss)  # Of mmpretrain's LabelSmoothLoss.
    # Sigmoid without such an attribute: mmpretrain's multi-label heads, and these losses.
    kinds = {*get_kinds(head), *get_kinds(loss)}
    default = bool(kinds & {'MultiLabelClsHead', 'GaussianFocalLoss', 'BCELossWithLogits'})
    return bool(getattr(loss, 'use_sigmoid', default))

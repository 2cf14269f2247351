"""The modules that compute the logits in the models of OpenMMLab."""

import re
from collections import Counter
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from .heads import (
    get_class_counts,
    get_head,
    get_kinds,
    get_last_layer,
    get_width,
    has_locations,
    is_of_proposals,
)

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
    'GuidedAnchorHead': None,  # Each model predicts anchors of its own.
    'GFLHead': 'gfl_cls',
    'RepPointsHead': 'reppoints_cls_out',
    **dict.fromkeys(('RetinaHead', 'RetinaSepBNHead', 'SABLRetinaHead'), 'retina_cls'),
    'RPNHead': 'rpn_cls',
    'VFNetHead': 'vfnet_cls',
    # mmdetection3d
    **dict.fromkeys(('Anchor3DHead', 'AnchorFreeMono3DHead'), 'conv_cls'),
    'Base3DDecodeHead': 'conv_seg',
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


def get_logits_layer(head: nn.Module) -> nn.Module | None:
    """The module of the logits of a known head, None of another."""
    child = get_child(head)
    return dict(head.named_modules()).get(child) if child else None


def _is_without_logits(modules: dict[str, nn.Module], name: str) -> bool:
    """Whether a module is part of a head without a module of the logits."""
    parts = name.split('.')
    parents = ('.'.join(parts[:end]) for end in range(len(parts)))
    return any(get_child(modules[parent]) is None for parent in parents if parent in modules)


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
    if is_of_backbone(source) or get_child(module) or _is_without_logits(modules, source):
        return True
    return get_logits_layer(head) not in (None, module)


def is_of_backbone(name: str) -> bool:
    """Whether a module is of a backbone or neck, by its name."""
    # Matches img_neck, but not bottleneck.
    return re.search(r'(^|[._])(backbone|neck)(\.|$)', name) is not None


def describe_model(side: str, model: nn.Module) -> str:
    """Names a model, and modules that may have its logits, in a message."""
    modules = dict(model.named_modules())
    names = [name for name in find_logits_modules(model) if name in modules]
    if not names:
        counts = get_class_counts(model)
        kind: Any = _ConvNd if has_locations(model) else (nn.Linear, _ConvNd)
        for name, module in modules.items():
            width = get_width(module) if isinstance(module, kind) else None
            fits = width and any(width % count == 0 for count in counts or {1})
            if fits and not is_feature(model, name) and not is_of_proposals(name):
                names.append(name)
        if has_locations(model):  # Not one of several modules, each for one level or task.
            patterns = {name: re.sub(r'\.\d+', '.*', name) for name in modules}
            siblings = Counter(patterns.values())
            names = [name for name in names if counts and siblings[patterns[name]] == 1]
    found = (
        f'whose logits may be of {names}' if names else 'none of whose layers is known for logits'
    )
    return f'the {side} {type(model).__name__}, {found}'

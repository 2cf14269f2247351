"""The modules that compute the logits in the models of OpenMMLab."""

import re

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ....utils import expect
from .heads import LOSSES, get_last_layer, get_width, has_sigmoid, is_kind

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


def get_child(head: nn.Module) -> str | None:
    """The name of the logits' module in a head: None if it has none, '' if it is not known."""
    kinds = (kind.__name__ for kind in type(head).__mro__)
    return next((LOGITS_MODULES[kind] for kind in kinds if kind in LOGITS_MODULES), '')


def get_logits_layer(head: nn.Module) -> nn.Module | None:
    """The module of the logits of a known head, None of another."""
    child = get_child(head)
    return dict(head.named_modules()).get(child) if child else None


def is_of_backbone(name: str) -> bool:
    """Whether a module is of a backbone or neck, by its name."""
    # Matches img_neck, but not bottleneck.
    return re.search(r'(^|[._])(backbone|neck)(\.|$)', name) is not None


def is_of_proposals(name: str) -> bool:
    """Whether a module, or a method of mmdet.models.roi_heads, is of a head of proposals."""
    # HTC has a semantic head, of the whole image, among them.
    return 'roi_head' in name and 'semantic_head' not in name


class LogitModel:
    """A model, and which of its modules have its logits.

    Args:
        side (str): ``'teacher'`` or ``'student'``.
        model (nn.Module): A model of an OpenMMLab package.
        logits_module (str, optional): The name of the module of the logits. Defaults to
            None: the first of those that are found.

    Raises:
        ValueError: A ``logits_module`` is given that has no logits.
    """

    def __init__(self, side: str, model: nn.Module, logits_module: str | None = None) -> None:
        self.side, self.model, self._given = side, model, logits_module
        self.modules = dict(model.named_modules())
        counts = [getattr(module, 'num_classes', None) for module in self.modules.values()]
        # A head of several tasks has a list; one class is that of an RPN.
        self.class_counts = {n for n in counts if isinstance(n, int) and n > 1}
        self.is_detector = is_kind(model, 'BaseDetector', 'Base3DDetector')
        self.known = self._find_logits_modules()
        self.logits_module = logits_module or self.known[0]
        if logits_module is not None:
            self.get_logits_module()

    def get_parents(self, name: str) -> list[nn.Module]:
        """A module and those around it, the nearest first, as far as they exist."""
        parts = name.split('.')
        names = ('.'.join(parts[:end]) for end in range(len(parts), -1, -1))
        return [self.modules[name] for name in names if name in self.modules]

    def get_head(self, name: str) -> nn.Module:
        """A module or its nearest parent with ``num_classes``; the model if there is none."""
        parents = self.get_parents(name)
        return next((part for part in parents if hasattr(part, 'num_classes')), self.model)

    def has_sigmoid(self, name: str) -> bool:
        """Whether the classes of a module's logits have a sigmoid each."""
        keys, parents = (*LOSSES, 'use_sigmoid_cls'), self.get_parents(name)
        # The logits of a backbone are those of the model's head.
        head = getattr(self.model, 'head', self.model)
        return has_sigmoid(next((x for x in parents if any(hasattr(x, k) for k in keys)), head))

    def is_feature(self, name: str) -> bool:
        """Whether a module is known to compute features, or boxes, and no logits.

        A linear layer is not: a backbone may end in its classifier, and a head have several.
        """
        module = self.modules.get(name)
        if module is None or isinstance(get_last_layer(module), nn.Linear):
            return False
        if is_of_backbone(name) or get_child(module) or self._is_without_logits(name):
            return True
        return get_logits_layer(self.get_head(name)) not in (None, module)

    def get_logits_module(self) -> nn.Module:
        """The module of the logits.

        Raises:
            ValueError: It does not exist, or has features.
        """
        name, counts = self.logits_module, self.class_counts
        # A user may name a convolution of a backbone that has no head.
        is_named = self._given is not None and get_child(self.get_head(name)) == ''
        is_named = is_named and (get_width(self.modules.get(name)) in counts or not counts)
        valid = name in self.modules and (is_named or not self.is_feature(name))
        expected = (
            f'the module of the logits of {self.describe()}; without logits that both models '
            "share, keep type='ConfigurableDistiller'"
        )
        expect(valid, 'distiller.logits_module', self._given, expected)
        return self.modules[name]

    def describe(self) -> str:
        """Names the model, and modules that may have its logits, in a message."""
        names = [name for name in self.known if name in self.modules]
        names = names or [name for name in self.modules if self._may_have_logits(name)]
        hint = f'whose logits may be of {names}'
        if not names:
            hint = 'none of whose layers is known for logits'
        return f'the {self.side} {type(self.model).__name__}, {hint}'

    def _may_have_logits(self, name: str) -> bool:
        """Whether a layer of an unknown head is as wide as all classes, or those of anchors."""
        layer = self.modules[name]
        has_locations = self.is_detector or is_kind(self.model, 'BaseSegmentor', 'Base3DSegmentor')
        # Linear layers are of queries, and one of several modules is of a level or task.
        is_other = isinstance(layer, nn.Linear) or re.search(r'\.\d', name) is not None
        if (has_locations and is_other) or self.is_feature(name) or is_of_proposals(name):
            return False
        if not self.class_counts:
            return layer is get_last_layer(self.model) and not has_locations
        width = get_width(layer) if isinstance(layer, (nn.Linear, _ConvNd)) else None
        return width is not None and any(width % count == 0 for count in self.class_counts)

    def _find_logits_modules(self) -> list[str]:
        """Those of known heads, without auxiliary ones, and of a cascade the last."""
        found: dict[str, str] = {}
        for name, module in self.modules.items():
            child = get_child(module)
            if child and 'auxiliary' not in name and not self._is_without_logits(name):
                source = f'{name}.{child}'.lstrip('.')
                cascade = re.sub(r'\.\d+$', '', name)
                # PointRend's last head, of sampled points, has no such module.
                if source in self.modules or cascade not in found:
                    found[cascade] = source
        return list(found.values()) or ['head.fc']

    def _is_without_logits(self, name: str) -> bool:
        """Whether a module is part of a head without a module of the logits."""
        return any(get_child(parent) is None for parent in self.get_parents(name)[1:])

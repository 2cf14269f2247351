"""A record of logits: where it comes from, and how many classes it has."""

from typing import Any

from mmrazor.models.task_modules.recorder import (
    FunctionInputsRecorder,
    ModuleInputsRecorder,
)
from torch import nn

from ....utils import expect
from .heads import (
    get_head,
    get_kinds,
    get_last_layer,
    get_num_classes,
    get_settings,
    get_width,
    has_sigmoid,
    is_detector,
    is_of_proposals,
    is_of_whole_image,
)
from .known_losses import ALL_LEVELS, get_side
from .modules import get_logits_layer

_INPUTS = (FunctionInputsRecorder, ModuleInputsRecorder)


class LogitRecord:
    """An entry of ``loss_forward_mappings``, looked up in its model.

    Args:
        entry (dict): The entry.
        model (nn.Module): The model that it is of.
        logits_module (str): The name of the module of the logits of the model.
        recorder (BaseRecorder, optional): The recorder of the entry.
        connector (nn.Module, optional): Its connector.
    """

    def __init__(
        self,
        entry: dict[str, Any],
        model: nn.Module,
        logits_module: str,
        recorder: Any,
        connector: nn.Module | None,
    ) -> None:
        self.entry, self.model, self.logits_module = entry, model, logits_module
        self.recorder, self.connector = recorder, connector
        self.is_pyramid = entry.get('record_idx') == ALL_LEVELS
        # A connector with layers makes the logits of what is recorded.
        self.has_layers = get_last_layer(connector) is not None
        self.source = getattr(recorder, 'source', '')
        modules = dict(model.named_modules())
        self.module = modules.get(self.source)
        self.name, owners = self.source, []
        if self.module is None:  # A method is of the modules of its class.
            kinds = {*self.source.split('.')[-2:-1]}
            owners = [name for name, module in modules.items() if kinds & {*get_kinds(module)}]
            self.name = next(iter(owners), logits_module)
        self.head = get_head(model, self.name)
        # A method, which has no layers, is judged by that of its head.
        own = get_logits_layer(self.head)
        self.layers = own if len(owners) == 1 else self.module
        # Of the layer whose outputs are anchors and classes, if this is one.
        logits = modules.get(logits_module)
        self.is_of_head = self.layers is not None and self.layers in (own, logits)
        # A connector may make the logits of all anchors of a feature.
        is_as_wide = self.has_layers and get_width(connector) == get_width(logits)
        self.makes_anchors = self.is_pyramid and is_as_wide
        if self.makes_anchors:
            self.head = get_head(model, logits_module)

    def get_num_classes(self) -> int | None:
        """The number of classes, None if no layer determines it.

        Raises:
            ValueError: The logits are of proposals or queries, of which each model has its
                own, or rows of all images, or the module is not as wide as the classes of
                its head.
        """
        self._check_locations()
        width = get_width(self.layers if self.connector is None else self.connector)
        if width is None or self.entry.get('connector_idx') is not None:
            return None
        is_dense = hasattr(self.head, 'cls_out_channels')
        classes = get_num_classes(self.head) or width
        if is_dense and classes == 1:  # RPNHead: its anchors stand for classes.
            classes = width
        if self.connector is not None:
            outputs = get_width(self.layers) if self.is_pyramid and self.is_of_head else None
            anchors = max(1, (width if self.makes_anchors else outputs or 1) // classes)
            return width // anchors if width % anchors == 0 else width
        side = get_side(self.entry)
        valid = width == classes or (is_dense and width % classes == 0)
        expected = f'{classes}{" or a multiple" * is_dense}, the number of classes of its head'
        expect(valid, f'distiller.{side}_recorders: width of {self.source}', width, expected)
        key = f'distiller.loss_forward_mappings: {self.source}: record_idx'
        expected = f'{ALL_LEVELS!r}, which tells its {width // classes} anchors apart'
        valid = self.is_pyramid or width == classes
        expect(valid, key, self.entry.get('record_idx'), expected)
        return classes

    def _check_locations(self) -> None:
        key = f'distiller.{get_side(self.entry)}_recorders: source'
        layer = get_last_layer(self.head if self.layers is None else self.layers)
        is_of_boxes = isinstance(layer, nn.Linear) and is_detector(self.model)
        expected = (
            "logits of locations that both models share, such as those of 'rpn_head.rpn_cls'; "
            'each model has its own proposals and queries'
        )
        valid = not is_of_boxes and not is_of_proposals(self.name)
        expect(valid, key, self.source, expected)
        is_of_loss = isinstance(self.recorder, _INPUTS) and get_last_layer(self.module) is None
        is_of_rows = is_of_loss and is_detector(self.model) and not is_of_whole_image(self.name)
        expected = (
            'what a module or method of a detector returns: what a loss receives are rows of '
            'all images, which would attend to each other'
        )
        expect(not is_of_rows, key, self.source, expected)

    @property
    def use_sigmoid(self) -> bool:
        """Whether its head has a sigmoid for each class."""
        return has_sigmoid(self.model, self.name)

    def get_head_settings(self) -> dict[str, Any]:
        """What must be equal in both heads, see :func:`get_settings`.

        Returns:
            dict[str, Any]: With ``num_classes``, and whether a segmentor has a sigmoid;
            nothing where a connector with layers follows.
        """
        if self.has_layers:
            return {}
        found = get_settings(self.head)
        # A connector may choose some of the classes.
        if isinstance(getattr(self.head, 'num_classes', None), int) and self.connector is None:
            found['num_classes'] = self.head.num_classes
        if hasattr(self.head, 'loss_decode'):  # Not of classifiers: either may distil the other.
            found['use_sigmoid'] = self.use_sigmoid
        return found

"""Which records of a distiller are logits, and of how many classes."""

from typing import Any

from mmrazor.models.task_modules import recorder as recorder_types
from torch import nn

from ....utils import expect
from .heads import get_last_layer, get_num_classes, get_settings, get_width, is_kind
from .known_losses import ALL_LEVELS, KNOWN, SIDES, get_pair, get_side
from .modules import LogitModel, get_logits_layer, is_of_backbone, is_of_proposals

_INPUTS = (recorder_types.FunctionInputsRecorder, recorder_types.ModuleInputsRecorder)


class LogitRecord:
    """An entry of ``loss_forward_mappings``, looked up in its model.

    Args:
        entry (dict): The entry.
        model (LogitModel): The model that it is of.
        recorder (BaseRecorder, optional): The recorder of the entry.
        connector (nn.Module, optional): Its connector.
    """

    def __init__(
        self, entry: dict[str, Any], model: LogitModel, recorder: Any, connector: nn.Module | None
    ) -> None:
        self.entry, self.model, self.recorder, self.connector = entry, model, recorder, connector
        self.is_pyramid = entry.get('record_idx') == ALL_LEVELS
        self.source = self.name = getattr(recorder, 'source', '')
        self.module = model.modules.get(self.source)
        owners = []
        if self.module is None:  # A method is of the modules of its class.
            kinds = self.source.split('.')[-2:-1]
            owners = [name for name, module in model.modules.items() if is_kind(module, *kinds)]
            self.name = next(iter(owners), model.logits_module)
        # What is equal for records of the same kind in both models.
        method, data_idx = self.source.split('.')[-1], entry.get('data_idx')
        self.kind = type(recorder), method, data_idx, is_of_backbone(self.name)
        self.use_sigmoid = model.has_sigmoid(self.name)
        self.head = model.get_head(self.name)
        # A method, which has no layers, is judged by that of its head.
        own, logits = get_logits_layer(self.head), model.modules.get(model.logits_module)
        self.layers = own if len(owners) == 1 else self.module
        # A connector with layers computes the logits itself: from those of the head, for other
        # classes, or from a feature, for all anchors.
        self.has_layers = get_last_layer(connector) is not None
        is_of_head = self.layers is not None and self.layers in (own, logits)
        self.anchor_layer = self.layers if self.is_pyramid and is_of_head else None
        is_as_wide = self.has_layers and get_width(connector) == get_width(logits)
        self.makes_anchors = self.is_pyramid and is_as_wide
        if self.makes_anchors:
            self.head, self.anchor_layer = model.get_head(model.logits_module), logits

    def is_logits(self, counts: set[int]) -> bool | None:
        """Whether it is of the logits of its model.

        Args:
            counts (set[int]): The numbers of classes of both models.

        Returns:
            bool, optional: True for the output of the module of the logits, and of a
            linear layer or convolution whose width is the number of classes. False for
            other convolutions of a backbone, a neck or a known head. The output of a
            connector with layers is judged by these. None if it cannot be told.
        """
        if self.recorder is None or isinstance(self.recorder, recorder_types.ParameterRecorder):
            return False
        if not self.has_layers:
            return self._is_of_logits(counts)
        if self.entry.get('connector_idx') is not None:  # One of its several outputs.
            return None
        # Of anchors, the width of the connector is a multiple of the classes.
        if self.makes_anchors or (self.is_pyramid and self._is_of_logits(counts)):
            return True
        return get_width(self.connector) in counts if counts else None

    def _is_of_logits(self, counts: set[int]) -> bool | None:
        """As :meth:`is_logits`, without the connector."""
        if not isinstance(self.recorder, recorder_types.ModuleOutputsRecorder):
            return None
        width = get_width(self.module)
        if isinstance(self.recorder, recorder_types.ModuleInputsRecorder):
            return None if width is None else False
        if self.source == self.model.logits_module:
            return True
        if self.model.is_feature(self.source):
            return False
        if width is None or not counts:
            return None
        # A head of proposals has a background beside its classes.
        return width in counts or (is_of_proposals(self.source) and width - 1 in counts)

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
            anchors = max(1, (get_width(self.anchor_layer) or 1) // classes)
            return width // anchors if width % anchors == 0 else width
        valid = width == classes or (is_dense and width % classes == 0)
        expected = f'{classes}{" or a multiple" * is_dense}, the number of classes of its head'
        key = f'distiller.{self.model.side}_recorders: width of {self.source}'
        expect(valid, key, width, expected)
        key = f'distiller.loss_forward_mappings: {self.source}: record_idx'
        expected = f'{ALL_LEVELS!r}, which tells its {width // classes} anchors apart'
        valid = self.is_pyramid or width == classes
        expect(valid, key, self.entry.get('record_idx'), expected)
        return classes

    def _check_locations(self) -> None:
        layer = get_last_layer(self.head if self.layers is None else self.layers)
        is_input = isinstance(self.recorder, _INPUTS) and get_last_layer(self.module) is None
        is_of_rows = is_input and 'semantic_head' not in self.name
        is_of_boxes = self.model.is_detector and (is_of_rows or isinstance(layer, nn.Linear))
        expected = (
            "logits of locations that both models share: what a module, as 'rpn_head.rpn_cls', "
            'or a method gives; each model has its own proposals and queries, and a loss receives '
            'rows of all images'
        )
        key = f'distiller.{self.model.side}_recorders: source'
        expect(not is_of_boxes and not is_of_proposals(self.name), key, self.source, expected)

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


class LogitRecords:
    """The records of ``loss_forward_mappings``, looked up in both models.

    Args:
        distiller (SKDDistiller): The distiller, with its recorders and connectors.
        models (dict[str, nn.Module]): ``'teacher'`` and ``'student'``.

    Raises:
        ValueError: ``logits_module`` names no module that may have logits.
    """

    def __init__(self, distiller: Any, models: dict[str, nn.Module]) -> None:
        names = distiller.logits_module
        names = names if isinstance(names, dict) else dict.fromkeys(SIDES, names)
        self.models = {side: LogitModel(side, models[side], names[side]) for side in SIDES}
        self._counts = set().union(*(model.class_counts for model in self.models.values()))
        # If all modules of both models agree on it.
        self.num_classes = min(self._counts) if len(self._counts) == 1 else None
        self._distiller = distiller

    def find(self, entry: dict[str, Any]) -> LogitRecord:
        """Looks an entry up."""
        side, connectors = get_side(entry), dict(self._distiller.connectors)
        recorders = getattr(self._distiller, f'{side}_recorders').recorders
        # What does not exist, or has no name, fails in the step.
        names = {key: name for key, name in entry.items() if isinstance(name, str)}
        recorder = recorders.get(names.get('recorder'))
        connector = connectors.get(names.get('connector'))
        return LogitRecord(entry, self.models[side], recorder, connector)

    def judge(self, mapping: dict[str, Any]) -> dict[str, bool | None]:
        """Whether the entries of a loss are of logits, see :meth:`LogitRecord.is_logits`.

        Args:
            mapping (dict): The entries.

        Returns:
            dict[str, bool | None]: By argument. What is called a label is none of logits
            where it cannot be told.
        """
        entries = {key: entry for key, entry in mapping.items() if isinstance(entry, dict)}
        found = {key: self.find(entry).is_logits(self._counts) for key, entry in entries.items()}
        return {key: bool(found[key]) if 'label' in key else found[key] for key in found}

    def get_entries(
        self, loss: nn.Module, mapping: dict[str, Any], argument: str
    ) -> dict[str, tuple[str, Any]]:
        """The entries of a loss for the logits of both models.

        Args:
            loss (nn.Module): The loss. In one of the user's own, whose arguments may have
                any names, the student's entry is the only one that is of logits or, if
                that cannot be told, is recorded like the teacher's.
            mapping (dict): Its entries.
            argument (str): The argument that takes the teacher's logits.

        Returns:
            dict[str, tuple[str, Any]]: As from :func:`get_pair`.
        """
        if type(loss) in KNOWN:
            return get_pair(mapping, argument)
        kind = self.find(mapping[argument]).kind
        found = [
            (key, mapping[key])
            for key, is_logits in self.judge(mapping).items()
            if get_side(mapping[key]) == 'student' and 'label' not in key
            if is_logits or (is_logits is None and self.find(mapping[key]).kind == kind)
        ]
        pair = {'teacher': (argument, mapping[argument])}
        return pair | {'student': found[0]} if len(found) == 1 else pair

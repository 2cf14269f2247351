"""Which records of a distiller are logits, judged by their sources."""

from typing import Any

from mmrazor.models.task_modules.recorder import (
    FunctionInputsRecorder,
    MethodInputsRecorder,
    ModuleInputsRecorder,
    ModuleOutputsRecorder,
    ParameterRecorder,
)
from torch import nn

from ....utils import expect
from .heads import (
    get_class_counts,
    get_head,
    get_kinds,
    get_last_layer,
    get_num_classes,
    get_settings,
    get_width,
    has_sigmoid,
    is_detector,
    is_of_proposals,
)
from .known_losses import ALL_LEVELS, KNOWN, SIDES, get_pair, get_side
from .modules import describe_model, find_logits_modules, get_child, is_feature

_INPUTS = (FunctionInputsRecorder, MethodInputsRecorder, ModuleInputsRecorder)


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
        # A method is of a module of its class; of anything else the logits' module is asked.
        owners = {*self.source.split('.')[-2:-1]}
        found = [name for name, module in modules.items() if owners & {*get_kinds(module)}]
        self.name = next(iter(found), logits_module) if self.module is None else self.source
        self.head = get_head(model, self.name)
        # A method, which has no layers, is judged by that of its head.
        own = getattr(self.head, get_child(self.head) or '', None)
        self.layers = own if self.module is None and len(found) == 1 else self.module
        # Of the layer whose outputs are anchors and classes, if this is one.
        self.is_of_head = self.layers is not None and self.layers in (
            own,
            modules.get(logits_module),
        )

    def get_num_classes(self) -> int | None:
        """The number of classes, None if no layer determines it.

        Raises:
            ValueError: The logits are of proposals or queries, of which each model has its
                own, or the module is not as wide as the classes of its head.
        """
        side = get_side(self.entry)
        key = f'distiller.{side}_recorders: source'
        layer = get_last_layer(self.head if self.layers is None else self.layers)
        is_of_boxes = isinstance(layer, nn.Linear) and is_detector(self.model)
        expected = (
            "logits of locations that both models share, such as those of 'rpn_head.rpn_cls'; "
            'each model has its own proposals and queries'
        )
        valid = not is_of_boxes and not is_of_proposals(self.name)
        expect(valid, key, self.source, expected)
        is_of_rows = isinstance(self.recorder, _INPUTS) and is_detector(self.model)
        expected = (
            'what a module or method of a detector returns: what a loss receives are rows of '
            'all images, which would attend to each other'
        )
        expect(not is_of_rows, key, self.source, expected)
        width = get_width(self.layers if self.connector is None else self.connector)
        if width is None or self.entry.get('connector_idx') is not None:
            return None
        is_dense = hasattr(self.head, 'cls_out_channels')
        classes = get_num_classes(self.head) or width
        if is_dense and classes == 1:  # RPNHead: its anchors stand for classes.
            classes = width
        if self.connector is not None:
            outputs = get_width(self.layers) if self.is_pyramid and self.is_of_head else None
            anchors = max(1, (outputs or 1) // classes)
            return width // anchors if width % anchors == 0 else width
        valid = width == classes or (is_dense and width % classes == 0)
        expected = f'{classes}{" or a multiple" * is_dense}, the number of classes of its head'
        expect(valid, f'distiller.{side}_recorders: width of {self.source}', width, expected)
        key = f'distiller.loss_forward_mappings: {self.source}: record_idx'
        expected = f'{ALL_LEVELS!r}, which tells its {width // classes} anchors apart'
        valid = self.is_pyramid or width == classes
        expect(valid, key, self.entry.get('record_idx'), expected)
        return classes

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


class LogitRecords:
    """The records of ``loss_forward_mappings``, looked up in both models.

    Args:
        distiller (SKDDistiller): The distiller, with its recorders and connectors.
        models (dict[str, nn.Module]): ``'teacher'`` and ``'student'``.

    Raises:
        ValueError: ``logits_module`` names no module that may have logits.
    """

    def __init__(self, distiller: Any, models: dict[str, nn.Module]) -> None:
        self.models, self._given = models, distiller.logits_module
        names = self._given
        if not isinstance(names, dict):
            names = {side: names or find_logits_modules(models[side])[0] for side in SIDES}
        self.logits_modules: dict[str, str] = names
        if self._given is not None:
            for side in SIDES:
                self.get_logits_module(side)
        self._recorders = {s: getattr(distiller, f'{s}_recorders').recorders for s in SIDES}
        self._connectors = distiller.connectors
        self._counts = get_class_counts(models['teacher']) | get_class_counts(models['student'])

    def find(self, entry: dict[str, Any]) -> LogitRecord:
        """Looks an entry up."""
        side, name = get_side(entry), entry.get('recorder')
        recorder = self._recorders[side].get(name) if isinstance(name, str) else None
        connector = self._connectors[entry['connector']] if entry.get('connector') else None
        model, logits_module = self.models[side], self.logits_modules[side]
        return LogitRecord(entry, model, logits_module, recorder, connector)

    def get_pair(
        self, loss: nn.Module, mapping: dict[str, Any], argument: str
    ) -> dict[str, tuple[str, Any]]:
        """The entries of a loss for the logits of both models.

        Args:
            loss (nn.Module): The loss. One of the user's own may call its arguments as it
                likes: the student's entry is the only one of logits, or recorded as the
                teacher's is.
            mapping (dict): Its entries.
            argument (str): The argument that takes the teacher's logits.

        Returns:
            dict[str, tuple[str, Any]]: As from :func:`get_pair`.
        """
        if type(loss) in KNOWN:
            return get_pair(mapping, argument)
        of_teacher = mapping[argument]
        found = [
            (key, entry)
            for key, entry in mapping.items()
            if isinstance(entry, dict) and entry.get('from_student') and 'label' not in key
            if self.is_logits(entry) or self._is_recorded_as(entry, of_teacher)
        ]
        pair = {'teacher': (argument, of_teacher)}
        return pair | {'student': found[0]} if len(found) == 1 else pair

    def _is_recorded_as(self, entry: dict[str, Any], other: dict[str, Any]) -> bool:
        """Whether a record that may be of logits is of the same kind as another."""
        if self.is_logits(entry) is False or not isinstance(other, dict):
            return False
        one, two = (
            (type(record.recorder), record.source.split('.')[-1], record.entry.get('data_idx'))
            for record in map(self.find, (entry, other))
        )
        return one == two

    def is_logits(self, entry: Any) -> bool | None:
        """Whether a record is of the logits of its model.

        Args:
            entry (dict): Its entry in ``loss_forward_mappings``.

        Returns:
            bool, optional: True for the output of the module of the logits, and of a
            linear layer or convolution whose width is the number of classes, unless it
            is a convolution of the backbone or neck, or beside that of the logits in a
            known head. The output of a connector with layers is judged by these. None if
            it cannot be told.
        """
        record = self.find(entry) if isinstance(entry, dict) else None
        if record is None or isinstance(record.recorder, (ParameterRecorder, type(None))):
            return False
        if record.has_layers:
            if entry.get('connector_idx') is not None:  # One of its several outputs.
                return None
            # Of anchors, the width of the connector is a multiple of the classes.
            if record.is_pyramid and self.is_logits(dict(entry, connector=None)):
                return True
            return self._is_as_wide(record.connector)
        if not isinstance(record.recorder, ModuleOutputsRecorder):
            return None
        if isinstance(record.recorder, ModuleInputsRecorder):
            return None if get_last_layer(record.module) is None else False
        if record.source == record.logits_module:
            return True
        if is_feature(record.model, record.source):
            return False
        is_as_wide = self._is_as_wide(record.module)
        # A head of proposals has a background beside its classes.
        if is_as_wide is False and is_of_proposals(record.source):
            return self._is_as_wide(record.module, others=1)
        return is_as_wide

    def _is_as_wide(self, module: nn.Module | None, others: int = 0) -> bool | None:
        width = get_width(module)
        return None if width is None or not self._counts else width - others in self._counts

    @property
    def num_classes(self) -> int | None:
        """The number of classes, if all modules of both models agree on it."""
        return next(iter(self._counts)) if len(self._counts) == 1 else None

    def get_logits_module(self, side: str) -> nn.Module:
        """The module of the logits of a model.

        Raises:
            ValueError: It does not exist.
        """
        model, source = self.models[side], self.logits_modules[side]
        modules = dict(model.named_modules())
        # A user may name a convolution of a backbone that has no head.
        counts = get_class_counts(model)
        is_named = self._given is not None and get_child(get_head(model, source)) == ''
        is_named = is_named and (get_width(modules.get(source)) in counts or not counts)
        valid = source in modules and (is_named or not is_feature(model, source))
        expected = (
            f'the module of the logits of {describe_model(side, model)}; without logits that '
            "both models share, keep type='ConfigurableDistiller'"
        )
        expect(valid, 'distiller.logits_module', self._given, expected)
        return modules[source]

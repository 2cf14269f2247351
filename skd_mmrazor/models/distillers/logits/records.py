"""Which records of a distiller are logits, judged by their sources."""

from typing import Any

from mmrazor.models.task_modules.recorder import (
    ModuleInputsRecorder,
    ModuleOutputsRecorder,
    ParameterRecorder,
)
from torch import nn

from ....utils import expect
from ....utils.descriptions import describe
from .known_losses import ALL_LEVELS, SIDES, STUDENT_ARGUMENT, get_pair, get_side
from .modules import (
    describe_model,
    find_logits_modules,
    get_child,
    get_class_counts,
    get_head,
    get_kinds,
    get_last_layer,
    get_num_classes,
    get_width,
    has_locations,
    has_sigmoid,
    is_feature,
    is_of_proposals,
)

_OF_OVERLAPS = ('QualityFocalLoss', 'VarifocalLoss')
# Of the settings of anchors: what follows from others, and what says how boxes are stored.
_SAID_BY_OTHERS = {'base_anchors', 'octave_base_scale', 'scales_per_octave', 'use_box_type'}


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

    def get_pair(self, mapping: dict[str, Any], argument: str) -> dict[str, tuple[str, Any]]:
        """As :func:`get_pair`; without a student's entry that is certainly a feature.

        Args:
            mapping (dict): The entries of a loss.
            argument (str): The argument that takes the teacher's logits.
        """
        pair = get_pair(mapping, argument)
        is_own = argument not in STUDENT_ARGUMENT and 'student' in pair
        if is_own and self.is_logits(pair['student'][1]) is False:
            del pair['student']
        return pair

    def has_layers(self, record: Any) -> bool:
        """Whether the connector of a record has layers, which make logits of what is recorded."""
        return get_layers(self._connectors, record) is not None

    def is_logits(self, record: Any) -> bool | None:
        """Whether a record is of the logits of its model.

        Args:
            record (dict): The record.

        Returns:
            bool, optional: True for the output of the module of the logits, and of a
            linear layer or convolution whose width is the number of classes, unless it
            is a convolution of the backbone or neck, or beside that of the logits in a
            known head. The output of a connector with layers is judged by these. None if
            it cannot be told.
        """
        recorder = self._get_recorder(record)
        if recorder is None or isinstance(recorder, ParameterRecorder):
            return False
        connector = get_layers(self._connectors, record)
        if connector is not None:
            if record.get('connector_idx') is not None:  # One of its several outputs.
                return None
            # Of anchors, the width of the connector is a multiple of the classes.
            is_pyramid = record.get('record_idx') == ALL_LEVELS
            if is_pyramid and self.is_logits(dict(record, connector=None)):
                return True
            return self._is_as_wide(connector)
        if not isinstance(recorder, ModuleOutputsRecorder):
            return None
        module = self._get_module(record)
        layer = get_last_layer(module)
        if isinstance(recorder, ModuleInputsRecorder):
            return None if layer is None else False
        if recorder.source == self.logits_modules[get_side(record)]:
            return True
        if is_feature(self.models[get_side(record)], recorder.source):
            return False
        is_as_wide = self._is_as_wide(module)
        # A head of proposals has a background beside its classes.
        if is_as_wide is False and is_of_proposals(recorder.source):
            return self._is_as_wide(module, others=1)
        return is_as_wide

    def _is_as_wide(self, module: nn.Module | None, others: int = 0) -> bool | None:
        width = get_width(module)
        return None if width is None or not self._counts else width - others in self._counts

    @property
    def num_classes(self) -> int | None:
        """The number of classes, if all modules of both models agree on it."""
        return next(iter(self._counts)) if len(self._counts) == 1 else None

    def get_num_classes(self, record: Any) -> int | None:
        """The number of classes of a record of logits, None if no layer determines it.

        Args:
            record (dict): The record.

        Raises:
            ValueError: The logits are of proposals or queries, of which each model has its
                own, or the module is not as wide as the classes of its head.
        """
        self._check_locations(record)
        connector, side = record.get('connector'), get_side(record)
        head, is_pyramid = self._get_head(record), record.get('record_idx') == ALL_LEVELS
        # A method of a head gives what its layer gives.
        module = self._get_module(record) or getattr(head, get_child(head) or '', None)
        width = get_width(self._connectors[connector] if connector else module)
        if width is None or record.get('connector_idx') is not None:
            return None
        is_dense = hasattr(head, 'cls_out_channels')
        classes = get_num_classes(head) or width
        if is_dense and classes == 1:  # RPNHead: its anchors stand for classes.
            classes = width
        if connector:
            modules = dict(self.models[side].named_modules())
            outputs = get_width(modules.get(self.logits_modules[side])) or classes
            anchors = max(1, outputs // classes) if is_pyramid else 1
            return width // anchors if width % anchors == 0 else width
        source = self._get_source(record)
        valid = width == classes or (is_dense and width % classes == 0)
        expected = f'{classes}{" or a multiple" * is_dense}, the number of classes of its head'
        expect(valid, f'distiller.{side}_recorders: width of {source}', width, expected)
        index, key = record.get('record_idx'), f'distiller.loss_forward_mappings: {source}'
        expected = f'{ALL_LEVELS!r}, which tells its {width // classes} anchors apart'
        expect(is_pyramid or width == classes, f'{key}: record_idx', index, expected)
        return classes

    def _check_locations(self, record: Any) -> None:
        side, source, name = get_side(record), self._get_source(record), self._get_name(record)
        # Of what has no layers, such as a loss, the head tells it.
        head = self._get_head(record)
        modules = (self._get_module(record), getattr(head, get_child(head) or '', None), head)
        layer = next(filter(None, map(get_last_layer, modules)), None)
        is_of_boxes = isinstance(layer, nn.Linear) and has_locations(self.models[side])
        expected = (
            "logits of locations that both models share, such as those of 'rpn_head.rpn_cls'; "
            'each model has its own proposals and queries'
        )
        valid = not is_of_boxes and not is_of_proposals(name)
        expect(valid, f'distiller.{side}_recorders: source', source, expected)

    def get_head_settings(self, record: Any) -> dict[str, Any]:
        """What must be equal in both heads.

        Args:
            record (dict): The record.

        Returns:
            dict[str, Any]: ``num_classes``, whether a segmentor has a sigmoid, the anchors,
            and what their scores are, as far as the head has them; nothing where a connector
            with layers follows.
        """
        if self.has_layers(record):
            return {}
        head = self._get_head(record)
        found: dict[str, Any] = {}
        # A connector may choose some of the classes.
        if isinstance(getattr(head, 'num_classes', None), int) and not record.get('connector'):
            found['num_classes'] = head.num_classes
        if hasattr(head, 'loss_decode'):  # Not of classifiers: either may distil the other.
            found['use_sigmoid'] = self.use_sigmoid(record)
        if hasattr(head, 'cls_out_channels'):  # Which objects are of which level.
            for key in ('regress_ranges', 'scale_ranges'):
                found[key] = describe(getattr(head, key, None))
        if anchors := getattr(head, 'prior_generator', None):
            # The scores of equal anchors may be overlaps instead of probabilities.
            loss = type(getattr(head, 'loss_cls', None)).__name__
            found['scores'] = 'overlaps' if loss in _OF_OVERLAPS else 'probabilities'
            for key, value in describe(anchors).items():
                if key not in _SAID_BY_OTHERS:
                    found[f'anchors.{key}'] = value
        return found

    def get_num_levels(self, record: Any) -> int:
        """The number of levels of the pyramid that the head of a record is for; 1 if unknown."""
        anchors = getattr(self._get_head(record), 'prior_generator', None)
        return getattr(anchors, 'num_levels', 1)

    def use_sigmoid(self, record: Any) -> bool:
        """Whether the head of a record has a sigmoid for each class."""
        return has_sigmoid(self.models[get_side(record)], self._get_name(record))

    def get_logits_module(self, side: str) -> nn.Module:
        """The module of the logits of a model.

        Raises:
            ValueError: It does not exist.
        """
        source, modules = self.logits_modules[side], dict(self.models[side].named_modules())
        expected = (
            f'the module of the logits of {describe_model(side, self.models[side])}; without '
            "logits that both models share, keep type='ConfigurableDistiller'"
        )
        module, model = modules.get(source), self.models[side]
        # A user may name a convolution of a backbone that has no head.
        counts = get_class_counts(model)
        is_named = self._given is not None and get_child(get_head(model, source)) == ''
        is_named = is_named and (get_width(module) in counts or not counts)
        valid = module is not None and (is_named or not is_feature(model, source))
        expect(valid, 'distiller.logits_module', self._given, expected)
        return modules[source]

    def _get_head(self, record: Any) -> nn.Module:
        return get_head(self.models[get_side(record)], self._get_name(record))

    def _get_name(self, record: Any) -> str:
        """The module that a record is of, or whose method it is of; else that of the logits."""
        source, side = self._get_source(record), get_side(record)
        modules = dict(self.models[side].named_modules())
        if source in modules:
            return source
        owners = source.split('.')[-2:-1]
        found = (name for name, module in modules.items() if {*owners} & {*get_kinds(module)})
        return next(found, self.logits_modules[side])

    def _get_module(self, record: Any) -> nn.Module | None:
        modules = dict(self.models[get_side(record)].named_modules())
        return modules.get(self._get_source(record))

    def _get_source(self, record: Any) -> str:
        return getattr(self._get_recorder(record), 'source', '')

    def _get_recorder(self, record: Any) -> Any:
        name = record.get('recorder') if isinstance(record, dict) else None
        return self._recorders[get_side(record)].get(name) if isinstance(name, str) else None


def get_layers(connectors: Any, record: Any) -> nn.Module | None:
    """The connector of a record if it has layers, which make logits of what is recorded.

    Args:
        connectors (nn.ModuleDict): The connectors of the distiller.
        record (dict): The record.
    """
    connector = connectors[record['connector']] if record.get('connector') else None
    return connector if get_last_layer(connector) else None

"""Which records of a distiller are logits, judged by their sources."""

from typing import Any

from mmrazor.models.task_modules.recorder import (
    ModuleInputsRecorder,
    ModuleOutputsRecorder,
    ParameterRecorder,
)
from torch import nn

from ...utils import expect
from ...utils.descriptions import describe
from .logits_modules import (
    describe_model,
    find_logits_modules,
    get_class_counts,
    get_head,
    get_last_layer,
    get_width,
    has_locations,
    has_sigmoid,
    is_feature,
)
from .pyramids import ALL_LEVELS

SIDES = ('teacher', 'student')
# What the heads of mmdetection, mmsegmentation and mmpretrain call the width of the logits.
_CLASS_COUNTS = ('cls_out_channels', 'out_channels', 'num_classes')


class LogitRecords:
    """The records of ``loss_forward_mappings``, looked up in both models.

    Args:
        distiller (SKDDistiller): The distiller, with its recorders and connectors.
        models (dict[str, nn.Module]): ``'teacher'`` and ``'student'``.

    Raises:
        ValueError: A model has no such module.
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
        connector = record.get('connector')
        if connector and get_last_layer(self._connectors[connector]):
            is_one_of_several = record.get('connector_idx') is not None
            return None if is_one_of_several else self._is_as_wide(self._connectors[connector])
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
        if is_as_wide is False and 'roi_head' in recorder.source.split('.'):
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
        side, source, module = get_side(record), self._get_source(record), self._get_module(record)
        has_rows = isinstance(get_last_layer(module), nn.Linear)
        expected = (
            "logits of the same locations in both models, as 'rpn_head.rpn_cls' has: proposals "
            'and queries are those of each model'
        )
        # Of ``roi_head``, or of a method in mmdet.models.roi_heads.
        valid = 'roi_head' not in source and not (has_rows and has_locations(self.models[side]))
        expect(valid, f'distiller.{side}_recorders: source', source, expected)
        connector, head = record.get('connector'), self._get_head(record)
        module = self._connectors[connector] if connector else module
        width, is_pyramid = get_width(module), record.get('record_idx') == ALL_LEVELS
        if width is None or record.get('connector_idx') is not None:
            return None
        has_anchors = hasattr(head, 'cls_out_channels')
        sizes = [getattr(head, key, None) for key in _CLASS_COUNTS]
        classes = next((size for size in sizes if isinstance(size, int)), width)
        if has_anchors and classes == 1:  # Its anchors are the classes of RPNHead.
            classes = width
        if connector:
            return classes if is_pyramid and width % classes == 0 else width
        valid = width == classes or (has_anchors and width % classes == 0)
        expected = f'{classes}{" or a multiple" * has_anchors}: its classes'
        expect(valid, f'distiller.{side}_recorders: width of {source}', width, expected)
        index, key = record.get('record_idx'), f'distiller.loss_forward_mappings: {source}'
        expected = f'{ALL_LEVELS!r}, which tells its {width // classes} anchors apart'
        valid = is_pyramid or width == classes
        expect(valid, f'{key}: record_idx', index, expected)
        return classes

    def get_head_settings(self, record: Any) -> dict[str, Any]:
        """``num_classes`` and the anchors of the head that a record is of.

        Args:
            record (dict): The record.

        Returns:
            dict[str, Any]: Those that the head has; none where a connector follows.
        """
        if record.get('connector'):
            return {}
        head = self._get_head(record)
        found: dict[str, Any] = {}
        if isinstance(getattr(head, 'num_classes', None), int):
            found['num_classes'] = head.num_classes
        if hasattr(head, 'loss_decode'):  # A classifier may be trained either way.
            found['use_sigmoid'] = has_sigmoid(head)
        if anchors := getattr(head, 'prior_generator', None):
            # Equal anchors may be scored for another loss, such as their overlap.
            found['loss'] = type(getattr(head, 'loss_cls', None)).__name__
            found.update((f'anchors.{key}', value) for key, value in describe(anchors).items())
        return found

    def get_num_levels(self, record: Any) -> int:
        """The number of levels of the pyramid that the head of a record is for; 1 if unknown."""
        anchors = getattr(self._get_head(record), 'prior_generator', None)
        return getattr(anchors, 'num_levels', 1)

    def use_sigmoid(self, record: Any) -> bool:
        """Whether the head of a record has a sigmoid for each class."""
        return has_sigmoid(self._get_head(record))

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
        valid = source in modules and not is_feature(self.models[side], source)
        expect(valid, 'distiller.logits_module', self._given, expected)
        return modules[source]

    def _get_head(self, record: Any) -> nn.Module:
        side, is_module = get_side(record), self._get_module(record) is not None
        source = self._get_source(record) if is_module else self.logits_modules[side]
        return get_head(self.models[side], source)

    def _get_module(self, record: Any) -> nn.Module | None:
        modules = dict(self.models[get_side(record)].named_modules())
        return modules.get(self._get_source(record))

    def _get_source(self, record: Any) -> str:
        return getattr(self._get_recorder(record), 'source', '')

    def _get_recorder(self, record: Any) -> Any:
        name = record.get('recorder') if isinstance(record, dict) else None
        return self._recorders[get_side(record)].get(name) if isinstance(name, str) else None


def get_side(record: dict[str, Any]) -> str:
    """The model that a record is of."""
    return 'student' if record.get('from_student') else 'teacher'

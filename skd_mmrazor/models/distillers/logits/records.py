"""Which records of a distiller are logits, judged by their sources."""

from typing import Any

from mmrazor.models.task_modules.recorder import (
    ModuleInputsRecorder,
    ModuleOutputsRecorder,
    ParameterRecorder,
)
from torch import nn

from ....utils import expect
from .heads import get_class_counts, get_head, get_last_layer, get_width, is_of_proposals
from .known_losses import KNOWN, SIDES, get_pair, get_side
from .modules import (
    describe_model,
    find_logits_modules,
    get_child,
    is_feature,
    is_of_backbone,
)
from .record import LogitRecord


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

    def get_entries(
        self, loss: nn.Module, mapping: dict[str, Any], argument: str
    ) -> dict[str, tuple[str, Any]]:
        """The entries of a loss for the logits of both models.

        Args:
            loss (nn.Module): The loss. In one of the user's own, whose arguments may have
                any names, the student's entry is the only one that is of logits or is
                recorded like the teacher's.
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
            if self._is_like(entry, of_teacher)
        ]
        pair = {'teacher': (argument, of_teacher)}
        return pair | {'student': found[0]} if len(found) == 1 else pair

    def _is_like(self, entry: dict[str, Any], of_teacher: Any) -> bool:
        """Whether a record is of logits, or, if that cannot be told, of the teacher's kind."""
        is_logits = self.is_logits(entry)
        if is_logits is not None or not isinstance(of_teacher, dict):
            return bool(is_logits)
        one, two = self.find(entry), self.find(of_teacher)
        names = [record.source.split('.')[-1] for record in (one, two)]  # Of methods.
        return (
            type(one.recorder) is type(two.recorder)
            and names[0] == names[1]
            and entry.get('data_idx') == of_teacher.get('data_idx')
            and is_of_backbone(one.name) == is_of_backbone(two.name)
        )

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
            is_of_logits = record.is_pyramid and self.is_logits(dict(entry, connector=None))
            if record.makes_anchors or is_of_logits:
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

"""Student-friendly knowledge distillation for any config with a distiller."""

import contextlib
from typing import Any

import torch
from mmengine.model import BaseModel
from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ...utils import expect, naming
from ..losses.log_space_kl_divergence import check_entropy_grad
from ..losses.teacher_gradient import (
    check_gradient,
    pass_gradient_to_teacher,
    raise_without_gradient,
)
from .composition import compose, find_base
from .config_checks import (
    check_arguments,
    check_mapping,
    check_minimised,
    check_simplify,
    check_student_learns,
    check_use,
    get_common_tau,
)
from .config_errors import naming_losses, naming_parts
from .logit_losses import add_logit_loss, find_logit_losses
from .model_checks import (
    check_deliveries,
    check_num_classes,
    check_recorder_sources,
    check_simplifier,
    count_outputs,
)
from .target_statistics import compare_targets


@MODELS.register_module()
class SKDDistiller(ConfigurableDistiller):
    """A ``ConfigurableDistiller`` that simplifies the teacher's logits.

    `Student-friendly Knowledge Distillation
    <https://arxiv.org/abs/2305.10893>`_ puts a learning simplifier between the
    teacher and the distillation loss, and trains it with the student through
    that loss. This distiller finds the loss arguments that carry the teacher's
    logits and passes those through one simplifier, once a step however many
    losses read it. Every other argument, connector and delivery stays as it is.

    - The number of classes is read from the teacher, the temperature from the
      losses.
    - A loss that keeps the gradient from the teacher is switched to pass it, or
      replaced by one of equal value that does (:class:`LogSpaceKLDivergence`,
      :class:`LogSpaceDKDLoss`). One that cannot is refused.
    - Where the config distils features only, ``logit_loss`` is added beside
      them, with recorders on the logits of both models.
    - A method with a distiller of its own keeps it: the object that is built is
      an ``OFDDistiller`` or ``BYOTDistiller`` too, see ``base``.
    - Entropies (in nats) of the softened teacher and of its simplified version,
      how often their top classes agree, and λ go to the log.

    The student starts from, and sees, the same random numbers as it would
    without SKD, so that runs can be compared seed by seed.

    Args:
        simplifier (dict): Config of the simplifier, see
            :class:`AttentionSimplifierConnector`. ``num_classes`` and ``tau``
            need not be given.
        simplify (dict[str, str], optional): For each loss to be simplified, the
            argument of its ``forward`` that takes the teacher's logits. Defaults
            to None: all losses of mmrazor that take such logits.
        entropy_grad (float): How much of the target's own entropy the
            simplifier is trained by, for losses that are replaced by their
            log-space version; the student's gradient does not depend on it, see
            :class:`LogSpaceKLDivergence`. Defaults to 0.0.
        logits (str): Name of the module whose output are the logits, in both
            models; used where no loss takes logits. Defaults to ``'head.fc'``.
        logit_loss (dict, optional): The loss that is added where no loss takes
            logits. Defaults to ``KLDivergence`` with ``tau=4``.
        base (str, optional): The distiller that SKD is added to, a registered
            subclass of ``ConfigurableDistiller``. Defaults to None:
            ``OFDDistiller`` where there is an ``OFDLoss``, ``BYOTDistiller``
            where there is a ``BYOTConnector``, else ``ConfigurableDistiller``.
        **kwargs: As for ``ConfigurableDistiller``: ``student_recorders``,
            ``teacher_recorders``, ``distill_deliveries``, ``connectors``,
            ``distill_losses`` and ``loss_forward_mappings``.

    Raises:
        ValueError: An argument is wrong, or a loss cannot train a simplifier.

    Examples:
        >>> # In a config whose ``_base_`` distils without SKD:
        >>> model = dict(
        ...     distiller=dict(
        ...         type='SKDDistiller',
        ...         simplifier=dict(type='AttentionSimplifierConnector')))
    """

    def __new__(cls, *args: Any, base: str | None = None, **kwargs: Any) -> 'SKDDistiller':
        """Adds SKD to the distiller that the config would have without it."""
        return super().__new__(compose(cls, find_base(base, kwargs)))  # type: ignore[arg-type]

    def __init__(
        self,
        simplifier: Any = None,
        simplify: dict[str, str] | None = None,
        entropy_grad: float = 0.0,
        logits: str = 'head.fc',
        logit_loss: dict | None = None,
        base: str | None = None,
        **kwargs: Any,
    ) -> None:
        is_config = isinstance(simplifier, dict) and 'type' in simplifier
        expect(is_config, 'distiller.simplifier', simplifier, "a dict with a 'type'")
        names_losses = simplify is None or (isinstance(simplify, dict) and bool(simplify))
        expect(names_losses, 'distiller.simplify', simplify, "a dict like dict(loss_kl='preds_T')")
        check_entropy_grad('distiller.entropy_grad', entropy_grad)
        check_arguments(type(self), kwargs)
        with naming_parts(kwargs):
            super().__init__(**kwargs)
        check_deliveries(self.deliveries.deliveries)
        self.simplifier: Any = None
        self._simplifier_cfg = dict(simplifier)
        # The config's own mappings are left untouched.
        self.loss_forward_mappings: dict[str, dict[str, dict]] = {
            loss: {argument: dict(record) for argument, record in mapping.items()}
            for loss, mapping in self.loss_forward_mappings.items()
        }

        check_student_learns(self.loss_forward_mappings)
        self._simplify = find_logit_losses(self, logits) if simplify is None else dict(simplify)
        added = not self._simplify
        if added:
            cfg = dict(type='KLDivergence', tau=4.0) if logit_loss is None else logit_loss
            self._simplify = add_logit_loss(self, logits, cfg)
        for name, argument in self._simplify.items():
            check_simplify(self.loss_forward_mappings, name, argument)
            check_minimised(name, self.distill_losses[name])
            check_mapping(name, self.distill_losses[name], self.loss_forward_mappings[name])
            # What the loss does with the gradient of a teacher that is trained.
            detach = bool(getattr(self.distill_losses[name], 'teacher_detach', False))
            self.loss_forward_mappings[name][argument].update(simplify=True, detach=detach)
            loss = pass_gradient_to_teacher(name, self.distill_losses[name], entropy_grad)
            self.distill_losses[name] = loss
        losses = [self.distill_losses[name] for name in self._simplify]
        check_use(losses, added, entropy_grad, logits, logit_loss)

        # What went in and what came out in this step, by record.
        self._simplified: dict[tuple, tuple[Tensor, Tensor]] = {}
        self._untried: list[str] = []
        self._stepped = False

    def prepare_from_student(self, model: BaseModel) -> None:
        """Initializes the student's recorders.

        Args:
            model (BaseModel): The student.

        Raises:
            ValueError: A recorder's source is not a module of the student.
        """
        recorders = self.student_recorders.recorders
        check_recorder_sources('student', recorders, model)
        self._student_outputs = {
            name: count_outputs(model, recorder.source) for name, recorder in recorders.items()
        }
        super().prepare_from_student(model)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Initializes the teacher's recorders and builds the simplifier.

        Args:
            model (nn.Module): The teacher.

        Raises:
            ValueError: A recorder's source is not a module of the teacher, or
                the config contradicts the teacher or itself.
        """
        check_recorder_sources('teacher', self.teacher_recorders.recorders, model)
        super().prepare_from_teacher(model)
        cfg = dict(self._simplifier_cfg)
        cfg.setdefault('_scope_', 'mmrazor')
        cfg['num_classes'] = self._get_num_classes(model)
        if cfg.get('tau') is None:
            cfg['tau'] = get_common_tau(
                {name: self.distill_losses[name] for name in self._simplify}
            )
        with torch.random.fork_rng(devices=[]):
            with naming('distiller.simplifier', self._simplifier_cfg, 'a config that can be built'):
                self.simplifier = MODELS.build(cfg)
            check_simplifier(self.simplifier, cfg['num_classes'])
            self._untried = [
                name for name in self._simplify if not self._try_loss(name, cfg['num_classes'])
            ]

    def _try_loss(self, name: str, num_classes: int) -> bool:
        loss = self.distill_losses[name]
        given = getattr(loss, 'num_classes', num_classes)
        key = f'distiller.distill_losses.{name}.num_classes'
        expect(given == num_classes, key, given, f'{num_classes}, as the teacher has')
        mapping, argument = self.loss_forward_mappings[name], self._simplify[name]
        check_num_classes(mapping, argument, self._student_outputs, num_classes)
        return check_gradient(name, loss, list(mapping), argument, num_classes)

    def _get_num_classes(self, teacher: nn.Module) -> int:
        given = self._simplifier_cfg.get('num_classes')
        key = 'distiller.simplifier.num_classes'
        for name, argument in self._simplify.items():
            recorder = self.loss_forward_mappings[name][argument]['recorder']
            source = self.teacher_recorders.get_recorder(recorder).source
            found = count_outputs(teacher, source)
            if found is not None:
                expected = f'{found}, the outputs of {source!r} in the teacher (or leave it out)'
                expect(given in (None, found), key, given, expected)
                given = found
        expect(given is not None, key, given, "a number: the teacher's logits do not tell it")
        return given  # type: ignore[return-value]

    def get_record(
        self,
        recorder: str,
        from_student: bool,
        simplify: bool = False,
        detach: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Gets a record, simplified where the mapping says so.

        Args:
            recorder (str): Name of the recorder.
            from_student (bool): Whether it records the student.
            simplify (bool): Whether to simplify the record. Defaults to False.
            detach (bool): Whether a record that is simplified keeps the gradient
                from the teacher. Defaults to True.
            **kwargs: As for ``ConfigurableDistiller``.

        Returns:
            Any: The record; a Tensor where it is simplified.
        """
        logits = super().get_record(recorder, from_student, **kwargs)
        if not simplify:
            return logits
        detach = detach and isinstance(logits, Tensor) and logits.requires_grad
        key = (recorder, detach, *sorted(kwargs.items()))
        if key not in self._simplified:
            logits = logits.detach() if detach else logits
            self._simplified[key] = (logits, self.simplifier(logits))
        return self._simplified[key][1]

    def compute_distill_losses(self) -> dict[str, Tensor]:
        """Computes the losses, and the statistics of the simplification.

        Returns:
            dict[str, Tensor]: The losses, and ``teacher_entropy``,
            ``simplified_entropy``, ``agreement`` and ``lam``, whose names keep
            them out of the objective.
        """
        self._simplified.clear()
        with contextlib.nullcontext() if self._stepped else naming_losses(self):
            losses = super().compute_distill_losses()
        self._stepped = True
        if self._untried:
            self._try_losses(losses)
        losses.update(compare_targets(list(self._simplified.values()), self.simplifier.tau))
        lam = getattr(self.simplifier, 'current_lam', None)
        if lam is not None:
            losses['lam'] = lam.detach()
        self._simplified.clear()
        return losses

    def _try_losses(self, losses: dict[str, Tensor]) -> None:
        for name in self._untried:
            argument = self._simplify[name]
            simplified = self.get_record(**self.loss_forward_mappings[name][argument])
            if simplified.requires_grad:
                loss = self.distill_losses[name]
                raise_without_gradient(name, loss, losses[name], simplified, argument)
        self._untried.clear()

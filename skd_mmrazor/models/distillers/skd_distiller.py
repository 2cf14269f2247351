"""Student-friendly knowledge distillation for any ``ConfigurableDistiller``."""

import contextlib
import copy
from typing import Any

import torch
from mmengine.model import BaseModel
from mmrazor.models.distillers import BYOTDistiller, ConfigurableDistiller, OFDDistiller
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ...utils import error_context, expect
from ..losses.log_space_kl_divergence import check_entropy_grad
from . import config_checks as checks
from . import logit_losses
from .config_errors import name_loss, name_part
from .target_statistics import compare_targets


@MODELS.register_module()
class SKDDistiller(ConfigurableDistiller):
    """A ``ConfigurableDistiller`` whose losses receive simplified teacher logits.

    `Student-friendly Knowledge Distillation
    <https://arxiv.org/abs/2305.10893>`_ puts a learning simplifier between the
    teacher and the distillation loss, and trains it with the student through that
    loss. This class finds the arguments of losses that take the teacher's logits
    and passes those through one simplifier, once a step however many losses read
    them. Every other argument, connector and delivery is left as it is.

    - The number of classes is read from the teacher, the temperature from the
      losses.
    - Losses that detach the teacher are switched to propagate its gradient, or
      replaced by one of equal value that does (:class:`LogSpaceKLDivergence`,
      :class:`LogSpaceDKDLoss`). A loss that cannot is refused.
    - To a config that distils features only, ``logit_loss`` is added, with
      recorders of the logits of both models.
    - The log shows the entropies (in nats) of the softened target before and after,
      how often their top classes agree, and λ.

    Building it draws no random numbers that the student would draw without SKD, so
    runs with and without it can be compared seed by seed.

    Args:
        simplifier (dict): Config of the simplifier, see
            :class:`AttentionSimplifierConnector`. ``num_classes`` and ``tau``
            need not be given.
        simplified_losses (dict[str, str], optional): For each loss to be
            simplified, the argument of its ``forward`` that takes the teacher's
            logits. Defaults to None: all losses of mmrazor that take such logits.
        entropy_grad (float): Weight of the target's own entropy in the gradient of
            the simplifier, in losses that have a log-space version; the student's
            gradient does not depend on it, see :class:`LogSpaceKLDivergence`.
            Defaults to 0.0.
        logits_module (str): Name of the module whose output are the logits, in
            both models: where ``logit_loss`` reads them, and by which an ``L1Loss``
            or ``L2Loss`` of logits is known. Defaults to ``'head.fc'``.
        logit_loss (dict, optional): The loss that is added where no loss takes
            logits. Defaults to ``KLDivergence`` with ``tau=4``.
        **kwargs: As for the distiller: ``student_recorders``,
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
        >>> # A distiller of one's own, a subclass of ConfigurableDistiller, with SKD:
        >>> @MODELS.register_module()
        ... class MySKDDistiller(SKDDistiller, MyDistiller):
        ...     pass
    """

    loss_forward_mappings: dict[str, Any]

    def __init__(
        self,
        simplifier: Any = None,
        simplified_losses: dict[str, str] | None = None,
        entropy_grad: float = 0.0,
        logits_module: str = 'head.fc',
        logit_loss: dict | None = None,
        **kwargs: Any,
    ) -> None:
        is_config = isinstance(simplifier, dict) and 'type' in simplifier
        expect(is_config, 'distiller.simplifier', simplifier, "a dict with a 'type'")
        check_entropy_grad('distiller.entropy_grad', entropy_grad)
        with name_part(kwargs):
            super().__init__(**kwargs)
        checks.check_parts(self)
        # A copy, since the config's own mappings are not to be changed.
        mappings = self.loss_forward_mappings = copy.deepcopy(self.loss_forward_mappings)
        self.simplifier: Any = None
        self._simplifier_cfg = dict(simplifier)
        if simplified_losses is None:
            found = logit_losses.find_logit_losses(self, logits_module)
        else:
            valid = isinstance(simplified_losses, dict) and bool(simplified_losses)
            expected = "a dict like dict(loss_kl='preds_T')"
            expect(valid, 'distiller.simplified_losses', simplified_losses, expected)
            found = dict(simplified_losses)
        added = {} if found else logit_losses.add_logit_loss(self, logits_module, logit_loss)
        self._simplified_losses = found or added
        for name, argument in self._simplified_losses.items():
            checks.check_simplified_loss(self, name, argument)
            loss = self.distill_losses[name]
            # Whether a teacher that is trained receives the gradient of the loss.
            detach = bool(getattr(loss, 'teacher_detach', False))
            mappings[name][argument].update(simplify=True, detach=detach)
            self.distill_losses[name] = logit_losses.make_differentiable(name, loss, entropy_grad)
        losses = [self.distill_losses[name] for name in self._simplified_losses]
        names = [type(loss).__name__ for loss in losses]
        expected = f'nothing: no loss is added beside {names}, which take logits'
        expect(bool(added) or logit_loss is None, 'distiller.logit_loss', logit_loss, expected)
        is_used = bool(added) or any(type(loss) in logit_losses.FEATURES for loss in losses)
        is_used |= logits_module == 'head.fc'
        expect(is_used, 'distiller.logits_module', logits_module, expected)
        is_used = entropy_grad == 0 or any(hasattr(loss, 'entropy_grad') for loss in losses)
        expected = f"0: the target's entropy has no part in the gradient of {names}"
        expect(is_used, 'distiller.entropy_grad', entropy_grad, expected)

        # The number of outputs of what each recorder records, by side and recorder.
        self._num_outputs: dict[str, dict[str, int | None]] = {}
        # Of the current step: record -> (logits, simplified logits).
        self._simplified: dict[str, tuple[Tensor, Tensor]] = {}
        self._unchecked: list[str] = []
        self._has_stepped = False

    def prepare_from_student(self, model: BaseModel) -> None:
        """Initializes the student's recorders.

        Args:
            model (BaseModel): The student.

        Raises:
            ValueError: A recorder's source does not exist in the student.
        """
        with checks.check_sources('student', self.student_recorders, model):
            super().prepare_from_student(model)
        self._num_outputs['student'] = checks.count_outputs(self.student_recorders, model)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Initializes the teacher's recorders and builds the simplifier.

        Args:
            model (nn.Module): The teacher.

        Raises:
            ValueError: A recorder's source does not exist in the teacher, or the
                config contradicts the models or itself.
        """
        with checks.check_sources('teacher', self.teacher_recorders, model):
            super().prepare_from_teacher(model)
        self._num_outputs['teacher'] = checks.count_outputs(self.teacher_recorders, model)
        losses = {name: self.distill_losses[name] for name in self._simplified_losses}
        cfg: dict[str, Any] = dict(_scope_='mmrazor') | self._simplifier_cfg
        cfg['num_classes'] = num_classes = self._get_num_classes(losses)
        if cfg.get('tau') is None:
            cfg['tau'] = checks.get_common_tau(losses)
        with torch.random.fork_rng(devices=[]):
            with error_context('distiller.simplifier', self._simplifier_cfg, 'a valid config'):
                self.simplifier = MODELS.build(cfg)
            checks.check_simplifier(self.simplifier, num_classes)
            for name, argument in self._simplified_losses.items():
                arguments = list(self.loss_forward_mappings[name])
                check = (name, losses[name], arguments, argument, num_classes)
                if not logit_losses.check_loss(*check):
                    self._unchecked.append(name)

    def _get_num_classes(self, losses: dict[str, nn.Module]) -> int:
        """The number of classes, on which models, losses and config have to agree."""
        found: dict[str, Any] = {}
        for name, argument in self._simplified_losses.items():
            mapping = self.loss_forward_mappings[name]
            for key in (argument, logit_losses.STUDENT_ARGUMENT.get(argument)):
                record = mapping.get(key, {})
                side = 'student' if record.get('from_student') else 'teacher'
                recorder = record.get('recorder')
                if isinstance(recorder, str) and not record.get('connector'):
                    found[f'{side}_recorders.{recorder}'] = self._num_outputs[side].get(recorder)
            found[f'distill_losses.{name}'] = getattr(losses[name], 'num_classes', None)
        found['simplifier'] = self._simplifier_cfg.get('num_classes')
        found = {key: number for key, number in found.items() if number is not None}
        expected = "a number: the teacher's logits do not tell it"
        expect(bool(found), 'distiller.simplifier.num_classes', None, expected)
        first, num_classes = next(iter(found.items()))
        for key, number in found.items():
            expected = f'{num_classes}, as distiller.{first} has'
            expect(number == num_classes, f'distiller.{key}: num_classes', number, expected)
        return num_classes

    def get_record(
        self, *args: Any, simplify: bool = False, detach: bool = True, **kwargs: Any
    ) -> Any:
        """Gets a record, simplified where ``loss_forward_mappings`` says so.

        Args:
            *args: As for the distiller.
            simplify (bool): Whether to simplify the record. Defaults to False.
            detach (bool): Whether to detach a record that is simplified from the
                teacher. Defaults to True.
            **kwargs: As for the distiller.

        Returns:
            Any: The record; a Tensor where it is simplified.
        """
        record = super().get_record(*args, **kwargs)
        if not simplify:
            return record
        detach = detach and isinstance(record, Tensor) and record.requires_grad
        key = f'{detach} {args} {sorted(kwargs.items())}'
        if key not in self._simplified:
            logits = record.detach() if detach else record
            self._simplified[key] = (logits, self.simplifier(logits))
        return self._simplified[key][1]

    def compute_distill_losses(self) -> dict[str, Tensor]:
        """Computes the losses, and the statistics of the simplification.

        Returns:
            dict[str, Tensor]: The losses, and ``teacher_entropy``,
            ``simplified_entropy``, ``top1_agreement`` and ``lam``, whose names keep
            them out of the objective.
        """
        self._simplified.clear()
        with contextlib.nullcontext() if self._has_stepped else name_loss(self):
            losses = super().compute_distill_losses()
        for name in self._unchecked:
            argument = self._simplified_losses[name]
            target = self.get_record(**self.loss_forward_mappings[name][argument])
            if target.requires_grad:
                loss = self.distill_losses[name]
                logit_losses.check_gradient(name, loss, losses[name], target, argument)
        self._has_stepped, self._unchecked = True, []
        losses.update(compare_targets(list(self._simplified.values()), self.simplifier.tau))
        if hasattr(self.simplifier, 'current_lam'):
            losses['lam'] = self.simplifier.current_lam.detach()
        self._simplified.clear()
        return losses


@MODELS.register_module()
class SKDOFDDistiller(SKDDistiller, OFDDistiller):
    """An ``OFDDistiller`` with SKD, for configs with an ``OFDLoss``."""


@MODELS.register_module()
class SKDBYOTDistiller(SKDDistiller, BYOTDistiller):
    """A ``BYOTDistiller`` with SKD, for configs with a ``BYOTConnector``."""

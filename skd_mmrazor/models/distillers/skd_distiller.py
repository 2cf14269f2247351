"""Student-friendly knowledge distillation for any ``ConfigurableDistiller``."""

import contextlib
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModel
from mmrazor.models.distillers import BYOTDistiller, ConfigurableDistiller, OFDDistiller
from mmrazor.registry import MODELS
from torch import Tensor, nn

from ...utils import error_context
from ..connectors import AttentionSimplifierConnector
from ..losses import LogSpaceBinaryKLDivergence
from .checks.config import check_arguments, check_parts, check_sources, name_part
from .checks.losses import check_gradient, check_loss, check_losses, check_simplifier
from .checks.models import agree_on_num_classes, check_heads, check_levels
from .checks.records import check_records, name_loss
from .logits.known_losses import ALL_LEVELS, SIDES
from .logits.losses import choose_losses, complete_losses, get_common_tau
from .logits.records import LogitRecords
from .pyramids import get_levels, prepare_pyramids
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
        simplified_losses (dict[str, str], optional): By loss, the argument of its
            ``forward`` that takes the teacher's logits, which are simplified.
            Defaults to None: all losses of mmrazor that receive such logits.
        entropy_grad (float): Weight of the target's own entropy in the gradient of
            the simplifier, in losses that have a log-space version; the student's
            gradient does not depend on it, see :class:`LogSpaceKLDivergence`.
            Defaults to 0.0.
        logits_module (str | dict[str, str], optional): Name of the module whose
            output is the logits, or ``dict(student=…, teacher=…)``. Defaults to
            None: that of the head, as in :data:`LOGITS_MODULES`.
        logit_loss (dict, optional): The loss that is added where no loss takes
            logits. Defaults to None: ``KLDivergence`` with ``tau=4`` for a
            classifier; ``ChannelWiseDivergence`` for segmentation, as in mmrazor's
            config; :class:`LogSpaceBinaryKLDivergence` for independent (sigmoid)
            classes, in a dense detector over all levels.
        log_interval (int): The statistics are computed in the first and then in each
            ``log_interval``-th step. Defaults to 10.
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
    simplifier: Any

    def __init__(
        self,
        simplifier: Any = None,
        simplified_losses: dict[str, str] | None = None,
        entropy_grad: float = 0.0,
        logits_module: str | dict[str, str] | None = None,
        logit_loss: dict | None = None,
        log_interval: int = 10,
        **kwargs: Any,
    ) -> None:
        with name_part(kwargs):
            super().__init__(**kwargs)
        self.loss_forward_mappings = dict(self.loss_forward_mappings)  # Not that of the config.
        self.simplifier_cfg = simplifier
        self.simplified_losses: Any = simplified_losses
        self.entropy_grad = entropy_grad
        self.logits_module = logits_module
        self.logit_loss = logit_loss
        self.log_interval = log_interval
        check_arguments(self)
        check_parts(self)
        # By side; emptied once both are prepared and their logits are found.
        self._models: dict[str, nn.Module] = {}
        # Per-step cache: record -> (logits, simplified logits), of each level of a pyramid.
        self._simplified: dict[str, list[tuple[Tensor, Tensor]]] = {}
        # By simplified loss and side: the argument that takes the logits, and its entry.
        self.logit_entries: dict[str, dict[str, tuple[str, Any]]] = {}
        # The number of levels of records of logits, by recorder, model, connector and data_idx.
        self.logit_pyramids: dict[tuple, int] = {}
        self._step = 0

    def prepare_from_student(self, model: BaseModel) -> None:
        """Initializes the student's recorders, see :meth:`prepare_from_teacher`.

        Args:
            model (BaseModel): The student.
        """
        with check_sources('student', self.student_recorders, model):
            super().prepare_from_student(model)
        self._prepare('student', model)

    def prepare_from_teacher(self, model: nn.Module) -> None:
        """Initializes the teacher's recorders.

        Once both models are prepared, finds the losses that take logits and builds
        the simplifier.

        Args:
            model (nn.Module): The teacher.

        Raises:
            ValueError: The config contradicts the models or itself.
        """
        with check_sources('teacher', self.teacher_recorders, model):
            super().prepare_from_teacher(model)
        self._prepare('teacher', model)

    def _prepare(self, side: str, model: nn.Module) -> None:
        self._models[side] = model
        if len(self._models) < len(SIDES):
            return
        records, self._models = LogitRecords(self, self._models), {}
        choose_losses(self, records)
        check_losses(self)
        complete_losses(self, records)
        check_levels(self)
        losses = {name: self.distill_losses[name] for name in self.simplified_losses}
        num_classes = agree_on_num_classes(self, records)
        check_heads(self, records)
        cfg: dict[str, Any] = dict(self.simplifier_cfg, num_classes=num_classes)
        if cfg.get('tau') is None:
            cfg['tau'] = get_common_tau(losses)
        self._use_sigmoid = any(
            isinstance(losses[name], LogSpaceBinaryKLDivergence)
            or records.find(self.loss_forward_mappings[name][argument]).use_sigmoid
            for name, argument in self.simplified_losses.items()
        )
        with torch.random.fork_rng(devices=[]):
            with error_context('distiller.simplifier', self.simplifier_cfg, 'a valid config'):
                kind = MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
                is_ours = isinstance(kind, type) and issubclass(kind, AttentionSimplifierConnector)
                if self._use_sigmoid and is_ours:  # Smaller logits would make objects likelier.
                    cfg = dict(softening='scale', start_factor=1.0) | cfg
                self.simplifier = MODELS.build(dict(_scope_='mmrazor') | cfg)
            check_simplifier(self.simplifier, num_classes)
            self._unchecked = [name for name in losses if not check_loss(self, name, num_classes)]
        prepare_pyramids(self, records)

    def get_record(self, *args: Any, simplify: Any = None, **kwargs: Any) -> Any:
        """Gets a record, simplified where ``loss_forward_mappings`` says so.

        Args:
            *args: As for the distiller.
            simplify (dict[str, bool], optional): ``detach``: whether a record that is
                simplified is detached from the teacher. Defaults to None: it is not
                simplified.
            **kwargs: As for the distiller.

        Returns:
            Any: The record; a Tensor where it is simplified, and a list of one for each
            level where ``record_idx='all'``.
        """
        is_pyramid = kwargs.get('record_idx') == ALL_LEVELS
        get = partial(get_levels, self) if is_pyramid else super().get_record
        record = get(*args, **kwargs)
        if not simplify:
            return record
        levels: list[Any] = record if is_pyramid else [record]
        detach = simplify['detach'] and any(getattr(x, 'requires_grad', False) for x in levels)
        key = f'{detach} {args} {sorted(kwargs.items())}'
        if key not in self._simplified:
            logits = [level.detach() for level in levels] if detach else levels
            self._simplified[key] = [(x, self.simplifier(x)) for x in logits]
        simplified = [after for _, after in self._simplified[key]]
        return simplified if is_pyramid else simplified[0]

    def compute_distill_losses(self) -> dict[str, Tensor]:
        """Computes the losses, and the statistics of the simplification.

        Returns:
            dict[str, Tensor]: The losses, and ``teacher_entropy``,
            ``simplified_entropy``, ``top1_agreement`` and ``lam``, whose names keep
            them out of the objective.
        """
        self._simplified.clear()
        if not self._step:
            check_records(self)
        # A context of one's own interrupts torch.compile.
        with contextlib.nullcontext() if self._step else name_loss(self):
            losses = super().compute_distill_losses()
        if torch.is_grad_enabled():
            for name in self._unchecked:
                argument = self.simplified_losses[name]
                target = self.get_record(**self.loss_forward_mappings[name][argument])
                target = target[0] if isinstance(target, list) else target
                if target.requires_grad:
                    check_gradient(self, name, losses[name], target)
            self._unchecked = []
        self._step += 1
        if self._step == 1 or self._step % self.log_interval == 0:
            pairs = [pair for levels in self._simplified.values() for pair in levels]
            losses.update(compare_targets(pairs, self.simplifier.tau, self._use_sigmoid))
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

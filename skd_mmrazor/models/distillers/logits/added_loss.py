"""The loss of logits that is added to a config that distils only features."""

import warnings
from inspect import signature
from typing import Any

from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import MODELS
from torch import nn

from ....utils import error_context, expect
from .heads import get_last_layer, get_width
from .known_losses import ALL_LEVELS, LOGITS, SIDES
from .modules import LogitModel
from .records import LogitRecords


def add_logit_loss(distiller: Any, records: LogitRecords) -> dict[str, str]:
    """Adds a loss of the logits, and recorders of the logits of both models.

    Args:
        distiller (SKDDistiller): Receives the loss, named ``loss_skd``, and recorders of
            that name. If its ``logit_loss`` is None, the loss is KL at a temperature of 4
            for a classifier; for dense logits that of mmrazor's config of CWD on logits;
            for independent classes :class:`LogSpaceBinaryKLDivergence`.
        records (LogitRecords): The records, with the models and the modules of their logits.

    Returns:
        dict[str, str]: As from :func:`find_logit_losses`.

    Raises:
        ValueError: The config is not that of a loss of logits, the name is taken, or a
            model lacks the module of its logits.
    """
    recorders = {side: getattr(distiller, f'{side}_recorders').recorders for side in SIDES}
    expected = "no 'loss_skd', which SKDDistiller adds"
    for part in (distiller.distill_losses, *recorders.values()):
        expect('loss_skd' not in part, 'distiller: names', list(part), expected)
    teacher, student = (records.models[side] for side in SIDES)
    widths = [get_width(model.get_logits_module()) for model in (teacher, student)]
    sources = dict(teacher=teacher.logits_module, student=student.logits_module)
    expected = (
        f'logits of one width in both models (teacher {widths[0]}, student {widths[1]}); '
        "features alone are distilled by type='ConfigurableDistiller'"
    )
    expect(widths[0] == widths[1], 'distiller.logits_module', sources, expected)
    cfg = _get_default_loss(teacher) if distiller.logit_loss is None else distiller.logit_loss
    expected = (
        'the config of a loss of mmrazor or SKD that needs logits alone; others are written '
        'into distill_losses, and named by simplified_losses'
    )
    with error_context('distiller.logit_loss', cfg, expected):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
        arguments = LOGITS[type(loss)]
        signature(loss.forward).bind(*arguments)
    if len(student.known) > 1 and student.logits_module == student.known[0]:
        warnings.warn(
            f'distiller.logits_module: of {student.known}, the loss of logits that is added reads '
            f'{student.logits_module!r} alone; logits_module chooses another.',
            stacklevel=4,
        )
    distiller.distill_losses['loss_skd'] = loss
    mapping = {}
    # The heads of mmdetection are called for each level.
    heads = [model.get_head(model.logits_module) for model in (teacher, student)]
    is_pyramid = any(hasattr(head, 'cls_out_channels') for head in heads)
    levels = dict(record_idx=ALL_LEVELS) if is_pyramid else {}
    for model, argument in zip((teacher, student), arguments, strict=True):
        recorders[model.side]['loss_skd'] = recorder = ModuleOutputsRecorder(model.logits_module)
        recorder.initialize(model.model)
        is_student = model is student
        mapping[argument] = dict(recorder='loss_skd', from_student=is_student, **levels)
    distiller.loss_forward_mappings['loss_skd'] = mapping
    return {'loss_skd': arguments[0]}


def _get_default_loss(teacher: LogitModel) -> dict[str, Any]:
    if teacher.has_sigmoid(teacher.logits_module):
        return dict(type='LogSpaceBinaryKLDivergence')
    layer = get_last_layer(teacher.modules[teacher.logits_module])
    if isinstance(layer, nn.Conv2d):
        return dict(type='ChannelWiseDivergence', tau=1, loss_weight=5)
    found = 'module without layers' if layer is None else type(layer).__name__
    expected = f'a loss for the logits of a {found}: only those of Linear and Conv2d have a default'
    expect(isinstance(layer, nn.Linear), 'distiller.logit_loss', None, expected)
    return dict(type='KLDivergence', tau=4.0)

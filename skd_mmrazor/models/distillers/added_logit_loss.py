"""The loss of logits that is added to a config that distils only features."""

import warnings
from typing import Any

from mmrazor.registry import MODELS, TASK_UTILS
from torch import nn

from ...utils import error_context, expect
from .known_losses import LOGITS
from .logit_records import ALL_LEVELS, SIDES, LogitRecords
from .logits_modules import (
    find_logits_modules,
    get_head,
    get_last_layer,
    get_width,
    has_sigmoid,
)


def add_logit_loss(distiller: Any, records: LogitRecords, cfg: Any) -> dict[str, str]:
    """Adds a loss of the logits, and recorders of the logits of both models.

    Args:
        distiller (ConfigurableDistiller): Receives the loss, named ``loss_skd``, and
            recorders of that name.
        records (LogitRecords): The records, with the models and the modules of their logits.
        cfg (dict, optional): Config of the loss. If None, KL at a temperature of 4 for
            a classifier; for dense logits the loss of mmrazor's config of CWD on logits;
            for independent classes :class:`LogSpaceBinaryKLDivergence`.

    Returns:
        dict[str, str]: As from :func:`find_logit_losses`.

    Raises:
        ValueError: The config is not that of a loss of logits, the name is taken, or a
            model lacks the module of its logits.
    """
    managers = [getattr(distiller, f'{side}_recorders').recorders for side in SIDES]
    expected = "no 'loss_skd', which SKDDistiller adds"
    for part in (distiller.distill_losses, *managers):
        expect(
            'loss_skd' not in part, 'distiller: names of losses, recorders', list(part), expected
        )
    cfg = _get_default_loss(records) if cfg is None else cfg
    with error_context('distiller.logit_loss', cfg, 'the config of a loss'):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
    arguments = LOGITS.get(type(loss), ('', ''))
    expected = 'a loss of preds_S and preds_T'
    expect('preds_T' in arguments, 'distiller.logit_loss', cfg, expected)
    records.check_logits_modules()
    names = find_logits_modules(records.models['student'])
    if len(names) > 1 and records.logits_modules['student'] == names[0]:
        warnings.warn(
            f'distiller.logits_module: of {names}, the loss of logits that is added reads '
            f'{names[0]!r} alone; logits_module chooses another, and one loss for each in '
            'distill_losses reads them all.',
            stacklevel=4,
        )
    teacher, student = (
        get_width(records.models[side].get_submodule(records.logits_modules[side]))
        for side in SIDES
    )
    expected = (
        'logits of one width in both models (the teacher has '
        f'num_classes={teacher}, the student {student})'
    )
    expect(teacher == student, 'distiller.logits_module', records.logits_modules, expected)
    distiller.distill_losses['loss_skd'] = loss
    mapping = {}
    for side, argument, recorders in zip(SIDES, arguments, managers, strict=True):
        recorder = TASK_UTILS.build(
            dict(type='mmrazor.ModuleOutputsRecorder', source=records.logits_modules[side])
        )
        recorder.initialize(records.models[side])
        recorders['loss_skd'] = recorder
        mapping[argument] = dict(recorder='loss_skd', from_student=side == 'student')
        if _is_of_levels(records, side):
            mapping[argument].update(record_idx=ALL_LEVELS)
    distiller.loss_forward_mappings['loss_skd'] = mapping
    return {'loss_skd': 'preds_T'}


def _is_of_levels(records: LogitRecords, side: str) -> bool:
    """Whether a model's head is one of mmdetection's, called for each level."""
    return hasattr(get_head(records.models[side], records.logits_modules[side]), 'cls_out_channels')


def _get_default_loss(records: LogitRecords) -> dict[str, Any]:
    model, source = records.models['teacher'], records.logits_modules['teacher']
    if has_sigmoid(get_head(model, source)):
        return dict(type='LogSpaceBinaryKLDivergence')
    if isinstance(get_last_layer(dict(model.named_modules()).get(source)), nn.Conv2d):
        return dict(type='ChannelWiseDivergence', tau=1, loss_weight=5)
    return dict(type='KLDivergence', tau=4.0)

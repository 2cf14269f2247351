"""The loss of logits that is added to a config that distils only features."""

import warnings
from inspect import signature
from typing import Any

from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import MODELS
from torch import nn

from ....utils import error_context, expect
from .heads import get_head, get_last_layer, get_width, has_sigmoid
from .known_losses import ALL_LEVELS, LOGITS, SIDES
from .modules import find_logits_modules
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
    modules = [records.get_logits_module(side) for side in SIDES]
    heads = (get_head(records.models[side], records.logits_modules[side]) for side in SIDES)
    # The heads of mmdetection are called for each level.
    is_pyramid = any(hasattr(head, 'cls_out_channels') for head in heads)
    widths = [get_width(module) for module in modules]
    expected = (
        f'logits of one width in both models (teacher {widths[0]}, student {widths[1]}); '
        "features alone are distilled by type='ConfigurableDistiller'"
    )
    expect(widths[0] == widths[1], 'distiller.logits_module', records.logits_modules, expected)
    cfg = distiller.logit_loss
    if cfg is None:
        use_sigmoid = has_sigmoid(records.models['teacher'], records.logits_modules['teacher'])
        cfg = _get_default_loss(use_sigmoid, modules[0])
    with error_context('distiller.logit_loss', cfg, 'the config of a loss'):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
    arguments: tuple[str, ...] = LOGITS.get(type(loss), ())
    parameters = signature(loss.forward).parameters.values()
    required = {p.name for p in parameters if p.default is p.empty}
    valid = type(loss) in LOGITS and set(arguments) == required
    expected = (
        "a loss of mmrazor's or SKD's that needs logits alone; others are written into "
        'distill_losses, and named by simplified_losses'
    )
    expect(valid, 'distiller.logit_loss', cfg, expected)
    names = find_logits_modules(records.models['student'])
    if len(names) > 1 and records.logits_modules['student'] == names[0]:
        warnings.warn(
            f'distiller.logits_module: of {names}, the loss of logits that is added reads '
            f'{names[0]!r} alone; logits_module chooses another, and one loss for each in '
            'distill_losses reads them all.',
            stacklevel=4,
        )
    distiller.distill_losses['loss_skd'] = loss
    mapping = {}
    for side, argument in zip(SIDES, arguments, strict=True):
        model, source = records.models[side], records.logits_modules[side]
        recorders[side]['loss_skd'] = recorder = ModuleOutputsRecorder(source)
        recorder.initialize(model)
        mapping[argument] = dict(recorder='loss_skd', from_student=side == 'student')
        if is_pyramid:
            mapping[argument].update(record_idx=ALL_LEVELS)
    distiller.loss_forward_mappings['loss_skd'] = mapping
    return {'loss_skd': arguments[0]}


def _get_default_loss(use_sigmoid: bool, logits_module: nn.Module) -> dict[str, Any]:
    if use_sigmoid:
        return dict(type='LogSpaceBinaryKLDivergence')
    layer = get_last_layer(logits_module)
    if isinstance(layer, nn.Conv2d):
        return dict(type='ChannelWiseDivergence', tau=1, loss_weight=5)
    found = type(layer or logits_module).__name__
    expected = f'a loss for the logits of a {found}: only those of Linear and Conv2d have a default'
    expect(isinstance(layer, nn.Linear), 'distiller.logit_loss', None, expected)
    return dict(type='KLDivergence', tau=4.0)

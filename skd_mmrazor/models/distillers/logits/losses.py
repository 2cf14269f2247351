"""Which losses take the teacher's logits, and how SKD completes them."""

import warnings
from inspect import signature
from typing import Any

from mmrazor.models.losses import ChannelWiseDivergence
from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder
from mmrazor.registry import MODELS
from torch import nn
from torch.nn import functional as F

from ....utils import error_context, expect, is_number
from ...losses import LogSpaceBinaryKLDivergence
from .differentiable_losses import make_differentiable
from .heads import get_last_layer, get_width
from .known_losses import ALL_LEVELS, KNOWN, LOGITS, SIDES, TEMPERATURES, get_side
from .modules import LogitModel
from .records import LogitRecords

# Losses of logits that take no softmax over the classes.
_WITHOUT_SOFTMAX = (LogSpaceBinaryKLDivergence, ChannelWiseDivergence)


def choose_losses(distiller: Any, records: LogitRecords) -> None:
    """Finds the losses that are simplified, or adds one.

    Args:
        distiller (SKDDistiller): The distiller, whose ``simplified_losses`` are completed.
        records (LogitRecords): Its records.

    Raises:
        ValueError: No loss can be found or added, or ``logit_loss`` has no use.
    """
    chosen, logit_loss = distiller.simplified_losses, distiller.logit_loss
    chosen = chosen or find_logit_losses(distiller, records)
    expected = f'nothing: no loss is added beside {list(chosen)}, which take logits'
    expect(not chosen or logit_loss is None, 'distiller.logit_loss', logit_loss, expected)
    distiller.simplified_losses = chosen or add_logit_loss(distiller, records)


def find_logit_losses(distiller: Any, records: LogitRecords) -> dict[str, str]:
    """Finds the losses that take the teacher's logits.

    Warns of losses that may take logits.

    Args:
        distiller (ConfigurableDistiller): The distiller, with its losses.
        records (LogitRecords): Its records.

    Returns:
        dict[str, str]: The argument that takes the teacher's logits, by loss.

    Raises:
        ValueError: A loss of logits has no entry for the teacher's, or only losses
            that SKD does not know take them.
    """
    found: dict[str, str] = {}
    # By loss that may read logits as they are: the setting that would simplify them.
    others: dict[str, str] = {}
    unknown: list[str] = []
    for name, mapping in distiller.loss_forward_mappings.items():
        kind, key = type(distiller.distill_losses[name]), f'distiller.loss_forward_mappings.{name}'
        argument, _ = KNOWN.get(kind, ('', ''))
        reads = records.judge(mapping)
        is_logits = reads.get(argument, False)
        if kind in LOGITS:
            expect(argument in mapping, key, mapping, f'an entry for {argument!r}')
            if is_logits is None:
                warnings.warn(
                    f'{key}.{argument} is taken for logits; if {mapping[argument]} is a feature, '
                    'name the losses of logits by distiller.simplified_losses.',
                    stacklevel=3,
                )
            is_logits = is_logits is not False
        elif is_logits:  # Of a loss of features; probabilities cannot be softened as logits can.
            connector = records.find(mapping[argument]).connector
            is_kept = connector is None or getattr(connector, 'func', None) is F.interpolate
            is_logits = is_kept and get_side(mapping[argument]) == 'teacher'
        if is_logits:
            found[name] = argument
            continue
        reads = {key: x for key, x in reads.items() if get_side(mapping[key]) == 'teacher'}
        sure = [key for key, is_read in reads.items() if is_read]
        unsure = [key for key, is_read in reads.items() if is_read is None]
        if sure or unsure:
            others[name] = f'{name}={" or ".join(map(repr, sure or unsure))}'
        if sure and kind not in KNOWN:
            unknown.append(others[name])
    is_asked = distiller.logit_loss is not None  # For a loss, if none is found.
    expected = (
        f'simplified_losses=dict({", ".join(unknown)}), or a logit_loss to add: SKD does not know '
        'these losses'
    )
    expect(bool(found) or is_asked or not unknown, 'distiller.simplified_losses', None, expected)
    if others and (found or not is_asked):
        line = ', '.join([*(f'{name}={key!r}' for name, key in found.items()), *others.values()])
        warnings.warn(
            f'distiller.distill_losses: {list(others)} may read the logits of the teacher as they '
            f'are, beside {list(found) or "a loss that is added"}; '
            f'simplified_losses=dict({line}) simplifies them all.',
            stacklevel=3,
        )
    return found


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
        'the config of a loss of mmrazor or SKD that takes only logits; any other goes into '
        'distill_losses, and simplified_losses names it'
    )
    with error_context('distiller.logit_loss', cfg, expected):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
        arguments = LOGITS[type(loss)]
        signature(loss.forward).bind(*arguments)
    if len(student.known) > 1 and student.logits_module == student.known[0]:
        warnings.warn(
            f'distiller.logits_module: of {student.known}, the loss of logits that is added reads '
            f'{student.logits_module!r} alone; logits_module chooses another, and one loss for '
            'each in distill_losses reads them all.',
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


def complete_losses(distiller: Any, records: LogitRecords) -> None:
    """Lets the chosen losses receive simplified logits, and propagate their gradient.

    Args:
        distiller (SKDDistiller): The distiller, whose ``distill_losses``,
            ``loss_forward_mappings`` and ``logit_entries`` are completed.
        records (LogitRecords): Its records.

    Raises:
        ValueError: A loss cannot train a simplifier, or ``entropy_grad`` has no use.
    """
    mappings, entropy_grad = distiller.loss_forward_mappings, distiller.entropy_grad
    for name, argument in distiller.simplified_losses.items():
        loss = distiller.distill_losses[name]
        # Whether a teacher that is trained receives the gradient of the loss.
        detach = bool(getattr(loss, 'teacher_detach', False))
        record = {**mappings[name][argument], 'simplify': dict(detach=detach)}
        # New dicts, since arguments and losses may share one.
        mappings[name] = {**mappings[name], argument: record}
        has_softmax = type(loss) in LOGITS and not isinstance(loss, _WITHOUT_SOFTMAX)
        if has_softmax and records.find(record).use_sigmoid:
            warnings.warn(
                f'distiller.distill_losses.{name}: {type(loss).__name__} takes the softmax over '
                "classes that are independent (sigmoid) in the teacher's head; "
                "type='LogSpaceBinaryKLDivergence' fits them.",
                stacklevel=3,
            )
        distiller.logit_entries[name] = records.get_entries(loss, mappings[name], argument)
        distiller.distill_losses[name] = make_differentiable(name, loss, entropy_grad)
    losses = [distiller.distill_losses[name] for name in distiller.simplified_losses]
    valid = not entropy_grad or any(hasattr(loss, 'entropy_grad') for loss in losses)
    names = [type(loss).__name__ for loss in losses]
    expected = f"0: the target's entropy has no part in the gradient of {names}"
    expect(valid, 'distiller.entropy_grad', entropy_grad, expected)


def get_common_tau(losses: dict[str, nn.Module]) -> float:
    """The common temperature of the losses; 1 if they have none.

    Args:
        losses (dict[str, nn.Module]): The losses by name.

    Raises:
        ValueError: One is not positive, they differ, or a loss of the user's own has
            no number, so that the config of the simplifier needs ``tau``.
    """
    taus: dict[str, Any] = {}
    for name, loss in losses.items():
        found = [getattr(loss, key) for key in TEMPERATURES if hasattr(loss, key)]
        if found or type(loss) not in KNOWN:
            taus[name] = found[0] if found else None
    # Of the user's own losses it may be a learned tensor.
    valid = all(is_number(tau) and tau > 0 for tau in taus.values()) and len({*taus.values()}) <= 1
    expected = f'a number, since the losses have no common one > 0: {taus}'
    expect(valid, 'distiller.simplifier.tau', None, expected)
    return next(iter(taus.values()), 1.0)

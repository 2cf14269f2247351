"""Which losses of a config distil logits, and the one that is added if none does."""

from typing import Any

from mmrazor.models.distillers import ConfigurableDistiller
from mmrazor.registry import MODELS, TASK_UTILS

from ...utils import expect, naming
from ..losses.teacher_gradient import TEACHER_FEATURES, TEACHER_LOGITS


def find_logit_losses(distiller: Any, logits: str) -> dict[str, str]:
    """Finds the losses that take the teacher's logits.

    Args:
        distiller (ConfigurableDistiller): Has the losses.
        logits (str): Name of the module whose output are the logits.

    Returns:
        dict[str, str]: For each, its argument that takes them.

    Raises:
        ValueError: That argument is missing in ``loss_forward_mappings``.
    """
    found = {}
    for name, loss in distiller.distill_losses.items():
        mapping = distiller.loss_forward_mappings.get(name, {})
        argument = TEACHER_LOGITS.get(type(loss))
        source = _get_source(distiller, mapping.get(argument, {}))
        if not {'backbone', 'neck'}.isdisjoint(source.split('.')):
            # Such as channel-wise distillation of a detector's pyramid.
            continue
        feature = TEACHER_FEATURES.get(type(loss), '')
        record = mapping.get(feature, {})
        # Of several teachers, a module is named ``teacher.head.fc``.
        is_logits = f'.{_get_source(distiller, record)}'.endswith(f'.{logits}')
        if is_logits and 'connector' not in record:
            argument = feature
        if argument is not None:
            key = f'distiller.loss_forward_mappings.{name}'
            expect(argument in mapping, key, mapping, f'an entry for {argument!r}')
            found[name] = argument
    return found


def _get_source(distiller: ConfigurableDistiller, record: dict) -> str:
    if not record or record['from_student']:
        return ''
    return distiller.teacher_recorders.get_recorder(record['recorder']).source


def add_logit_loss(distiller: Any, logits: str, cfg: dict) -> dict[str, str]:
    """Adds a loss of the logits, with recorders on those of both models.

    Args:
        distiller (ConfigurableDistiller): Gets the loss, as ``loss_skd``.
        logits (str): Name of the module whose output are the logits.
        cfg (dict): Config of the loss.

    Returns:
        dict[str, str]: As of :func:`find_logit_losses`.

    Raises:
        ValueError: It is no loss of logits, or the name is taken.
    """
    names = list(distiller.distill_losses)
    expected = "no 'loss_skd', which SKDDistiller adds"
    expect('loss_skd' not in names, 'distiller.distill_losses', names, expected)
    for recorders in (distiller.student_recorders, distiller.teacher_recorders):
        recorders.recorders['skd_logits'] = TASK_UTILS.build(
            dict(type='mmrazor.ModuleOutputsRecorder', source=logits)
        )
    with naming('distiller.logit_loss', cfg, 'the config of a loss'):
        loss = MODELS.build(dict(cfg, _scope_='mmrazor'))
    argument = TEACHER_LOGITS.get(type(loss))
    expect(argument == 'preds_T', 'distiller.logit_loss', cfg, 'a loss of preds_S and preds_T')
    distiller.distill_losses['loss_skd'] = loss
    distiller.loss_forward_mappings['loss_skd'] = {
        'preds_S': {'recorder': 'skd_logits', 'from_student': True},
        'preds_T': {'recorder': 'skd_logits', 'from_student': False},
    }
    return {'loss_skd': 'preds_T'}

"""Checks that a step makes what the losses need: logits of the same locations in both models."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch

from ....utils import error_context, expect
from ..logits.heads import get_last_layer
from ..logits.known_losses import ALL_LEVELS, KNOWN, SIDES

_MODES = {1: 'linear', 2: 'bilinear', 3: 'trilinear'}


@contextlib.contextmanager
def name_loss(distiller: Any) -> Iterator[None]:
    """Names the record or the loss with which a training step fails.

    Args:
        distiller (ConfigurableDistiller): Holds the records of the step.

    Raises:
        ValueError: Instead of any error inside; a TypeError stays one.
    """
    try:
        yield
    except Exception as error:
        if 'memory' in str(error):  # Of a GPU or, in other words, of a CPU.
            raise
        expected = (
            'records that the step makes, of shapes that the loss takes; gt_labels of class '
            'indices, which Mixup, CutMix, to_onehot and multi-label images do not have'
        )
        for name, mapping in distiller.loss_forward_mappings.items():
            # A copy, since the user's loss may have a state.
            loss = copy.deepcopy(distiller.distill_losses[name])
            with error_context(f'distiller.loss_forward_mappings.{name}', mapping, expected):
                loss(**{k: distiller.get_record(**record) for k, record in mapping.items()})
        with error_context('distiller', type(distiller).__name__, 'losses that can be computed'):
            raise error


def check_records(distiller: Any) -> None:
    """Makes sure that the logits of a step are of the same locations in both models.

    Args:
        distiller (SKDDistiller): Holds the records of the step.

    Raises:
        ValueError: One model made more records of a loss, or maps of another size.
    """
    for name, pair in distiller.logit_entries.items():
        if len(pair) == len(SIDES):
            _check_counts(distiller, name, pair)
            _check_sizes(distiller, name, pair)


def _check_counts(distiller: Any, name: str, pair: dict[str, tuple[str, Any]]) -> None:
    counts, sizes, are_chosen = {}, set(), True
    for side, (_, entry) in pair.items():
        recorder = getattr(distiller, f'{side}_recorders').recorders.get(entry['recorder'])
        found = getattr(recorder, 'data_buffer', ())
        counts[side] = len(found)
        sizes |= {(side, _get_shape(output, entry.get('data_idx'))) for output in found}
        are_chosen &= 'record_idx' in entry
    names = [entry.get('connector') for _, entry in pair.values()]
    connectors = [module for key, module in distiller.connectors.items() if key in names]
    # A connector may make logits of a feature whose module runs more often.
    are_chosen |= any(map(get_last_layer, connectors))
    # A module may run twice for the same map, as PointRend's does.
    are_equal = len(sizes) == len(SIDES) and len(set(counts.values())) == 1
    expected = (
        'at least one of each model: what is recorded must run in a training step '
        '(FpnTeacherDistill does not run the head, SingleTeacherDistill does)'
    )
    key, kind = f'distiller.loss_forward_mappings.{name}', 'records of a step'
    expect(all(counts.values()), f'{key}: {kind}', counts, expected)
    expected = (
        f'as many of both models, all of one size; record_idx={ALL_LEVELS!r} or a number in both '
        'entries chooses among several'
    )
    _expect(are_chosen or are_equal, name, kind, counts, expected)


def _get_shape(output: Any, index: int | None) -> Any:
    # If this fails, so does the loss, which is named then.
    with contextlib.suppress(Exception):
        return (output if index is None else output[index]).shape


def _check_sizes(distiller: Any, name: str, pair: dict[str, tuple[str, Any]]) -> None:
    shapes: dict[str, Any] = {}
    argument, entry = pair['teacher']
    is_pyramid = entry.get('record_idx') == ALL_LEVELS
    # In training mode a connector may have a state that changes, or draw random numbers.
    connectors, training = distiller.connectors, distiller.connectors.training
    connectors.eval()
    # If this fails, so does the loss, which is named then.
    with contextlib.suppress(Exception), torch.no_grad():
        for side, (_, entry) in pair.items():
            found = distiller.get_record(**dict(entry, simplify=None))
            shapes[side] = [tuple(x.shape) for x in found] if is_pyramid else tuple(found.shape)
    connectors.train(training)
    if len(shapes) < len(SIDES):
        return
    teacher, student = (shapes[side] if is_pyramid else shapes[side][2:] for side in SIDES)
    valid = teacher == student
    if is_pyramid or len(teacher) != len(student):
        # torch would spread (N, C) and (N, C, 1, 1) to (N, C, N, C); a loss of one's own may not.
        valid |= not is_pyramid and type(distiller.distill_losses[name]) not in KNOWN
        expected = (
            'as many dimensions in both models, to which a connector reshapes them; in a pyramid '
            'the same levels, of as many anchors and locations: both need the same strides'
        )
    else:
        expected = (
            'maps of one size: the same record_idx of a pyramid, or '
            "connectors=dict(resize=dict(type='TorchFunctionalConnector', "
            f"function_name='interpolate', func_args=dict(size={student}, "
            f"mode={_MODES.get(len(student))!r}))) and connector='resize' in its {argument}; "
            'where that has a connector, resize is a list of the configs of both'
        )
    _expect(valid, name, 'shapes of the logits', shapes, expected)


def _expect(valid: bool, name: str, what: str, found: dict[str, Any], expected: str) -> None:
    if name == 'loss_skd':
        expected += '; write this loss, which was added, into the config by another name'
    expect(valid, f'distiller.loss_forward_mappings.{name}: {what}', found, expected)

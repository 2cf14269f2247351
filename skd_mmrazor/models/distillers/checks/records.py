"""Checks that the logits of both models are of the same locations."""

import contextlib
from typing import Any

import torch

from ....utils import expect
from ..logits.heads import get_last_layer
from ..logits.known_losses import ALL_LEVELS, KNOWN, SIDES

_ADDED = '; write this loss, which was added, into the config by another name'


def check_records(distiller: Any) -> None:
    """Makes sure that the logits of a step are of the same locations in both models.

    Args:
        distiller (SKDDistiller): Holds the records of the step.

    Raises:
        ValueError: One model made more records of a loss, or maps of another size.
    """
    for name, pair in distiller.logit_entries.items():
        entries = {side: entry for side, (_, entry) in pair.items()}
        if len(entries) == len(SIDES):
            _check_counts(distiller, name, entries)
            _check_sizes(distiller, name, entries, pair['teacher'][0])


def _check_counts(distiller: Any, name: str, entries: dict[str, dict]) -> None:
    counts, sizes = {}, set()
    for side, entry in entries.items():
        recorder = getattr(distiller, f'{side}_recorders').get_recorder(entry['recorder'])
        found, index = getattr(recorder, 'data_buffer', ()), entry.get('data_idx')
        counts[side] = len(found)
        sizes |= {(side, _get_shape(output, index)) for output in found}
        key = f'distiller.{side}_recorders.{entry["recorder"]}: records of a step'
        expected = (
            'some, of what runs in a training step (FpnTeacherDistill does not run the head, '
            'SingleTeacherDistill does)'
        )
        expect(counts[side] > 0, key, counts[side], expected)
    # A connector may make logits of a feature whose module runs more often.
    names = filter(None, (entry.get('connector') for entry in entries.values()))
    are_chosen = any(get_last_layer(distiller.connectors[name]) for name in names) or all(
        isinstance(entry.get('record_idx'), int) for entry in entries.values()
    )
    are_read = all(entry.get('record_idx') == ALL_LEVELS for entry in entries.values())
    # A module may run twice for the same map, as PointRend's does.
    are_read = are_read or len(sizes) <= len(entries)
    valid = are_chosen or (are_read and len(set(counts.values())) == 1)
    expected = (
        'as many of both models, such as the same levels of a pyramid; of several sizes, '
        f'record_idx={ALL_LEVELS!r} or a number in both entries chooses'
    ) + _ADDED * (name == 'loss_skd')
    key = f'distiller.loss_forward_mappings.{name}: records of a step'
    expect(valid, key, counts, expected)


def _get_shape(output: Any, index: int | None) -> Any:
    # If this fails, so does the loss, which is named then.
    with contextlib.suppress(Exception):
        return (output if index is None else output[index]).shape


def _check_sizes(distiller: Any, name: str, entries: dict[str, dict], argument: str) -> None:
    shapes: dict[str, Any] = {}
    is_pyramid = entries['teacher'].get('record_idx') == ALL_LEVELS
    # In training mode a connector may have a state that changes, or draw random numbers.
    connectors, training = distiller.connectors, distiller.connectors.training
    connectors.eval()
    # If this fails, so does the loss, which is named then.
    with contextlib.suppress(Exception), torch.no_grad():
        for side, entry in entries.items():
            found = distiller.get_record(**dict(entry, simplify=None))
            shapes[side] = [tuple(x.shape) for x in found] if is_pyramid else tuple(found.shape)
    connectors.train(training)
    teacher, student = (shapes.get(side, ())[2:] for side in SIDES)
    if is_pyramid:
        valid = len(shapes) < len(SIDES) or shapes['teacher'] == shapes['student']
        expected = 'as many anchors and locations: both need the same, and the same strides'
    elif len(shapes) == len(SIDES) and len(teacher) != len(student):
        # torch would spread (N, C) and (N, C, 1, 1) to (N, C, N, C).
        valid = type(distiller.distill_losses[name]) not in KNOWN
        expected = 'as many dimensions in both models, to which a connector reshapes them'
    else:
        valid = len(shapes) < len(SIDES) or teacher == student
        mode = {1: 'linear', 3: 'trilinear'}.get(len(student), 'bilinear')
        expected = (
            'maps of one size: the same record_idx of a pyramid, or '
            "connectors=dict(resize=dict(type='TorchFunctionalConnector', "
            f"function_name='interpolate', func_args=dict(size={student}, mode={mode!r}))) and "
            f"connector='resize' in its {argument}"
        )
        if used := entries['teacher'].get('connector'):
            expected += f'; an entry takes one connector, or a list: that of {used!r} and this one'
    if name == 'loss_skd' and not is_pyramid:
        expected += _ADDED
    key = f'distiller.loss_forward_mappings.{name}: shapes of the logits'
    expect(valid, key, shapes, expected)

"""Whether both models, the losses and the simplifier agree on the logits."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor

from ....utils import error_context, expect, is_number
from ..logits.known_losses import ALL_LEVELS
from ..logits.records import LogitRecords

_HINT = '; a connector in loss_forward_mappings may change it'


def check_simplifier(simplifier: Any, num_classes: int) -> None:
    """Tries a simplifier on random logits.

    Args:
        simplifier (nn.Module): The simplifier.
        num_classes (int): Number of classes.

    Raises:
        ValueError: It cannot be called, writes into its input, or does not return
            finite logits of the same shape.

    Warns where its parameters cannot learn.
    """
    key, name = 'distiller.simplifier', type(simplifier).__name__
    tau = getattr(simplifier, 'tau', None)
    expect(is_number(tau), f'{key}.tau', tau, f'a number as an attribute of {name}')
    with error_context(key, name, f'a function of logits of shape (N, {num_classes})'):
        logits = torch.randn(4, num_classes)
        out = copy.deepcopy(simplifier)(logits)
    # Other losses read the input as it is, and so do the statistics.
    expect(logits._version == 0, key, name, 'a function that does not write into its input')
    sound = isinstance(out, Tensor) and out.shape == (4, num_classes) and out.isfinite().all()
    expect(bool(sound), key, f'{name} with tau={tau}', 'that its outputs are finite logits')
    if not out.requires_grad and any(p.requires_grad for p in simplifier.parameters()):
        warnings.warn(
            f'{key}: {name} cannot learn, since its outputs are detached from its parameters.',
            stacklevel=2,
        )


def agree_on_num_classes(distiller: Any, records: LogitRecords) -> Any:
    """The number of classes, on which models, losses and config must agree.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen.
        records (LogitRecords): The records of the distiller.

    Returns:
        int: The number.

    Raises:
        ValueError: They do not agree, or none of them has a number.
    """
    losses, counts = distiller.simplified_losses, []
    for name, pair in distiller.logit_entries.items():
        for side, (_, entry) in pair.items():
            number = records.find(entry).get_num_classes()
            counts.append((f'{side}_recorders.{entry["recorder"]}', number))
        number = getattr(distiller.distill_losses[name], 'num_classes', None)
        counts.append((f'distill_losses.{name}', number))
    counts.append(('simplifier', distiller.simplifier_cfg.get('num_classes')))
    counts = [(key, number) for key, number in counts if number is not None]
    first, num_classes = counts[0] if counts else ('', records.num_classes)
    hint = f'; simplified_losses chooses of {list(losses)}' if len(losses) > 1 else _HINT
    for key, number in counts:
        expected = f'{num_classes}, as distiller.{first} has{hint}'
        expect(number == num_classes, f'distiller.{key}: num_classes', number, expected)
    expected = "two at least, or type='ConfigurableDistiller': one class is no distribution"
    expect(num_classes != 1, f'distiller.{first}: num_classes', 1, expected)
    expected = "a number: the teacher's logits do not tell it"
    expect(num_classes is not None, 'distiller.simplifier.num_classes', None, expected)
    return num_classes


def check_heads(distiller: Any, records: LogitRecords) -> None:
    """Makes sure that the logits of both models mean the same.

    Equal widths may differ in meaning: five sigmoid classes, or four and a background;
    anchors of other sizes.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen.
        records (LogitRecords): The records of the distiller.

    Raises:
        ValueError: A setting of the heads differs.
    """
    for name, pair in distiller.logit_entries.items():
        key = f'distiller.loss_forward_mappings.{name}'
        indices = {side: entry.get('record_idx', 0) for side, (_, entry) in pair.items()}
        valid = ALL_LEVELS not in indices.values() or len(set(indices.values())) == 1
        expect(valid, f'{key}: record_idx', indices, f'an index, or {ALL_LEVELS!r}, in both')
        heads = {side: records.find(x).get_head_settings() for side, (_, x) in pair.items()}
        for setting in heads['teacher']:
            found = {side: head[setting] for side, head in heads.items() if setting in head}
            valid = all(value == found['teacher'] for value in found.values())
            expected = "the same in both models, or type='ConfigurableDistiller' for features alone"
            expect(valid, f'{key}: {setting} of the heads', found, expected)

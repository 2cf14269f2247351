"""Whether both models, the losses and the simplifier agree on the logits."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor

from ....utils import error_context, expect, is_number
from ..logits.known_losses import ALL_LEVELS, get_pair
from ..logits.records import LogitRecords


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
    sound = isinstance(out, Tensor) and out.shape == logits.shape and out.isfinite().all()
    # Other losses read the input as it is, and so do the statistics.
    sound = bool(sound) and logits._version == 0
    expected = 'that its outputs are finite logits, and that it does not write into its input'
    expect(sound, key, f'{name} with tau={tau}', expected)
    if not out.requires_grad and any(p.requires_grad for p in simplifier.parameters()):
        warnings.warn(
            f'{key}: {name} cannot learn, since its outputs are detached from its parameters.',
            stacklevel=2,
        )


def check_levels(distiller: Any) -> None:
    """Makes sure that a loss reads all levels of both models, or one of each.

    Args:
        distiller (SKDDistiller): The distiller, whose losses are chosen.

    Raises:
        ValueError: A loss reads all levels of one model alone.
    """
    for name, mapping in distiller.loss_forward_mappings.items():
        pairs = [get_pair(mapping, argument) for argument in mapping]
        for pair in (*pairs, distiller.logit_entries.get(name, {})):
            entries = [entry for _, entry in pair.values() if isinstance(entry, dict)]
            kinds = {entry.get('record_idx') == ALL_LEVELS for entry in entries}
            expected = f"record_idx={ALL_LEVELS!r} in both models' entries, or in neither"
            expect(len(kinds) < 2, f'distiller.loss_forward_mappings.{name}', mapping, expected)


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
    counts: list[tuple[str, Any]] = []
    for name, pair in distiller.logit_entries.items():
        for side, (_, entry) in pair.items():
            number = records.find(entry).get_num_classes()
            counts.append((f'{side}_recorders.{entry["recorder"]}', number))
        number = getattr(distiller.distill_losses[name], 'num_classes', None)
        counts.append((f'distill_losses.{name}', number))
    counts.append(('simplifier', distiller.simplifier_cfg.get('num_classes')))
    counts = [(key, number) for key, number in counts if number is not None]
    first, num_classes = counts[0] if counts else ('', records.num_classes)
    hint = 'a connector in its mapping may change it, and simplified_losses chooses losses'
    for key, number in counts:
        expected = f'{num_classes}, as distiller.{first} has; {hint}'
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
        heads = {side: records.find(x).get_head_settings() for side, (_, x) in pair.items()}
        for setting in heads['teacher']:
            found = {side: head[setting] for side, head in heads.items() if setting in head}
            valid = all(value == found['teacher'] for value in found.values())
            expected = "the same in both models, or type='ConfigurableDistiller' for features alone"
            key = f'distiller.loss_forward_mappings.{name}: {setting} of the heads'
            expect(valid, key, found, expected)

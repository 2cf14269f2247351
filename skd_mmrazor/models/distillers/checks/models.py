"""Whether both models, the losses and the simplifier agree on the logits."""

from typing import Any

from ....utils import expect
from ..logits.known_losses import ALL_LEVELS, get_pair
from ..logits.records import LogitRecords


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
            entries = {key: entry for key, entry in pair.values() if isinstance(entry, dict)}
            indices = {key: entry.get('record_idx', 0) for key, entry in entries.items()}
            valid = len({str(index) == ALL_LEVELS for index in indices.values()}) < 2
            expected = f"{ALL_LEVELS!r} in both models' entries, or in neither"
            expect(valid, f'distiller.loss_forward_mappings.{name}: record_idx', indices, expected)


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
    expected = "a number, which the teacher's logits do not determine"
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

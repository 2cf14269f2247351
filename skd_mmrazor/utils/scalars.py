"""What mmengine's ``LocalVisBackend`` wrote of a training."""

import json
from pathlib import Path


def read_scalars(work_dir: Path) -> dict[str, list[dict]]:
    """Reads the training that a work directory holds.

    A start of it overrides whatever earlier ones logged from where it begins: all of
    a run that was started anew, the end of one that was resumed.

    Args:
        work_dir (Path): As of the config.

    Returns:
        dict[str, list[dict]]: The records of ``'train'`` and of ``'val'``. The ``step``
        of a validation is its epoch, or its iteration, as far as it was logged, in a
        training by iterations, whose records have no ``epoch``.

    Raises:
        ValueError: A line is no record. The last one of a start that was killed may be
            cut, and is left out.
    """
    train: list[dict] = []
    val: list[dict] = []
    # Folders are named by their start.
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        records = _read(path)
        steps = [record['step'] for record in records if 'lr' in record]
        if steps:
            # The first record comes one interval after the start.
            iteration = steps[0] - (steps[1] - steps[0] if len(steps) > 1 else 1)
            train = [record for record in train if record['step'] <= iteration]
            val = [record for record in val if record['iter'] <= iteration]
        elif records:  # It ended after a validation.
            iteration = train[-1]['step'] if train else 0
            val = [record for record in val if record['step'] < records[0]['step']]
        for record in records:
            if 'lr' in record:
                train.append(record)
                iteration = record['step']
            else:
                val.append({**record, 'iter': iteration})
    # mmengine counts no epochs there: all validations are of epoch 0.
    if any(record['step'] == 0 for record in val):
        val = [{**record, 'step': record['iter']} for record in val]
        train = [{k: v for k, v in record.items() if k != 'epoch'} for record in train]
    return dict(train=train, val=val)


def _read(path: Path) -> list[dict]:
    records = []
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f'{path}, line {number}: {error}') from error
    return records

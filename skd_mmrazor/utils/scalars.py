"""Reads the log of a training that mmengine's ``LocalVisBackend`` wrote."""

import json
from pathlib import Path


def read_scalars(work_dir: Path) -> dict[str, list[dict]]:
    """Reads the training in a work directory, which may have been started several times.

    A later start replaces what was logged from the iteration at which it begins:
    everything if the run began anew, the end if it was resumed.

    Args:
        work_dir (Path): The ``work_dir`` of the config.

    Returns:
        dict[str, list[dict]]: The records of ``'train'`` and of ``'val'``. The ``step``
        of a validation is its epoch. In a training by iterations it is the last
        iteration that was logged before it, and no record has an ``epoch``.

    Raises:
        ValueError: A line is not valid JSON. The last line of a file is skipped instead,
            since killing a run may cut it.
    """
    train: list[dict] = []
    val: list[dict] = []
    # The names of the folders are the times of the starts.
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
    # In a training by iterations mmengine logs all validations with step 0.
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

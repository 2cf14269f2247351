"""Reads the log of a training that mmengine's ``LocalVisBackend`` wrote."""

import json
from pathlib import Path

from .checks import is_integer


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
        ValueError: A line is no record in JSON. The last line of a file is skipped instead,
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
    # In a training by iterations mmengine logs all validations with step 0, or with their
    # iteration where the LoggerHook has log_metric_by_epoch=False.
    last_epoch = max((record.get('epoch', 0) for record in train), default=0)
    if any(not 0 < record['step'] <= last_epoch for record in val):
        val = [{**record, 'step': record['step'] or record['iter']} for record in val]
        train = [{k: v for k, v in record.items() if k != 'epoch'} for record in train]
    return dict(train=train, val=val)


def _read(path: Path) -> list[dict]:
    records = []
    lines = path.read_text(encoding='utf-8', errors='replace').rstrip().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            if not isinstance(record, dict) or not is_integer(record.get('step'), 0):
                raise ValueError("expected a record with a 'step'")
            records.append(record)
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f'{path}, line {number}: {error}') from error
    return records

"""What mmengine's ``LocalVisBackend`` wrote of a training."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from mmpretrain.utils import load_json_log


def read_scalars(work_dir: Path) -> dict[str, list[dict]]:
    """Reads what was logged in a work directory.

    Of a step that was logged by several starts of a run, the last one counts.

    Args:
        work_dir (Path): As of the config.

    Returns:
        dict[str, list[dict]]: The records of ``'train'`` and of ``'val'``, by
        rising step.
    """
    records: dict[str, dict[int, dict]] = {'train': {}, 'val': {}}
    # Folders are named by their start.
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for mode, logged in load_json_log(path).items():
            records[mode].update({record['step']: record for record in logged})
    return {mode: [found[step] for step in sorted(found)] for mode, found in records.items()}


def read_curves(work_dir: Path) -> dict[str, list[tuple[float, float]]]:
    """Reads the mean of each epoch, of all that was logged in a work directory.

    Args:
        work_dir (Path): As of the config.

    Returns:
        dict[str, list[tuple[float, float]]]: By key, the epochs with their means.
    """
    epochs: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for records in read_scalars(work_dir).values():
        for record in records:
            for key, value in record.items():
                epochs[key][record.get('epoch', record['step'])].append(value)
    return {
        key: [(epoch, float(np.mean(values))) for epoch, values in found.items()]
        for key, found in epochs.items()
    }

"""The curves of a training, from what mmengine's ``LocalVisBackend`` wrote."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from skd_mmrazor.utils.scalars import read_scalars


def read_curves(work_dir: Path) -> dict[str, list[tuple[float, float]]]:
    """Reads the mean of each epoch, of all that was logged in a work directory.

    Args:
        work_dir (Path): The ``work_dir`` of the config.

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

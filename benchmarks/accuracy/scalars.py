"""What mmengine's ``LocalVisBackend`` wrote of a training."""

from pathlib import Path

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

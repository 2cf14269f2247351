"""Annotation files whose images lie in the folder of their data set.

mmpretrain joins the folder of the images and what a line of the annotation file
says, so ``../../etc/passwd 3`` and ``/etc/passwd 3`` are read as images. A label
that is no class fails in the loss, on a GPU as a device-side assert, and none of
the errors names the file or the line.
"""

import functools
from collections.abc import Callable

from mmengine.fileio import list_from_file
from mmpretrain.datasets import CustomDataset

from ..compat.patches import safeguards


@safeguards.replacing(
    'mmpretrain.datasets.CustomDataset.load_data_list',
    reason='an annotation file can name any file of the machine (`../../etc/passwd 3`), or a label '
    'that is no class. An error names the file and the line',
)
def check_annotations(original: Callable) -> Callable:
    """Checks each line of an annotation file of ``CustomDataset`` and ``ImageNet``."""

    @functools.wraps(original)
    def load_data_list(self: CustomDataset) -> list[dict]:
        if self.ann_file:
            _check(self)
        return original(self)

    return load_data_list


def _check(dataset: CustomDataset) -> None:
    try:
        lines = list_from_file(dataset.ann_file)
    except UnicodeDecodeError as error:
        raise ValueError(f'{dataset.ann_file!r}: {error}, expected a text in UTF-8.') from error
    if not lines:
        raise ValueError(f'{dataset.ann_file!r} is empty, expected a line for each sample.')
    classes = len(dataset.CLASSES) if dataset.CLASSES else float('inf')
    has_folder = bool(dataset.img_prefix)
    for number, line in enumerate(lines, 1):
        path, label = line.strip().rpartition(' ')[::2] if dataset.with_label else (line, '0')
        # ASCII digits alone: int() takes '1_0', ' +1' and other alphabets.
        is_label = label.isascii() and label.isdigit() and float(label) < classes
        if not (path and is_label) or '\0' in path or (has_folder and _leaves_folder(path)):
            wanted = f' and a label from 0 to {classes - 1}' if dataset.with_label else ''
            raise ValueError(
                f'{dataset.ann_file!r}, line {number}: {line[:200]!r}, expected a path inside '
                f'{dataset.img_prefix!r}{wanted}.'
            )


def _leaves_folder(path: str) -> bool:
    # mmengine reads 'x:http://…' from a server.
    return path.startswith('/') or '://' in path or '..' in path.split('/')

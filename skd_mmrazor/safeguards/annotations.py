"""Annotation files whose images lie in the folder of their data set.

mmpretrain joins the folder of the images and what a line of the annotation file
says, so ``../../etc/passwd 3`` and ``/etc/passwd 3`` are read as images. A label
that is no class fails in the loss, on a GPU as a device-side assert, and none of
the errors names the file or the line.
"""

from collections.abc import Callable

from mmengine.fileio import list_from_file
from mmpretrain.datasets import CustomDataset

from ..compat.patches import safeguards


@safeguards.wrapping('mmpretrain.datasets.CustomDataset.load_data_list')
def check_annotations(original: Callable, self: CustomDataset) -> list[dict]:
    """Checks each line of an annotation file of ``CustomDataset`` and ``ImageNet``.

    Why: an annotation file can name any file of the machine (`../../etc/passwd 3`), or a label that
    is no class. An error names the file and the line.
    """
    if not self.ann_file:
        return original(self)
    try:
        lines = list_from_file(self.ann_file)
    except UnicodeDecodeError as error:
        raise ValueError(f'{self.ann_file!r}: {error}, expected a text in UTF-8.') from error
    if not lines:
        raise ValueError(f'{self.ann_file!r} is empty, expected a line for each sample.')
    classes = len(self.CLASSES) if self.CLASSES else float('inf')
    has_folder = bool(self.img_prefix)
    for number, line in enumerate(lines, 1):
        path, label = line.strip().rpartition(' ')[::2] if self.with_label else (line, '0')
        # ASCII digits alone: int() takes '1_0', ' +1' and other alphabets.
        is_label = label.isascii() and label.isdigit() and float(label) < classes
        if not (path and is_label) or '\0' in path or (has_folder and _leaves_folder(path)):
            wanted = f' and a label from 0 to {classes - 1}' if self.with_label else ''
            raise ValueError(
                f'{self.ann_file!r}, line {number}: {line[:200]!r}, expected a path inside '
                f'{self.img_prefix!r}{wanted}.'
            )
    return original(self)


def _leaves_folder(path: str) -> bool:
    # mmengine reads 'x:http://…' from a server.
    return path.startswith('/') or '://' in path or '..' in path.split('/')

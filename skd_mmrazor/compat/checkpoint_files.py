"""A file that is no checkpoint is an error that names it, before it is unpacked.

mmengine hands every local file to ``torch.load``, whose errors do not say which
file they are about: an empty one is ``EOFError``, a text ``KeyError: 101``. A
checkpoint is a zip archive, and torch unpacks whatever size an entry claims to
have: three megabytes can ask for three gigabytes.
"""

import functools
import os
import pickle
import zipfile
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader


@functools.cache  # Once, however often it is called.
def check_checkpoint_files() -> None:
    """Puts :func:`_check_size` and the file's name around mmengine's loader.

    Every checkpoint passes there: ``load_from``, ``resume``, ``teacher_ckpt``
    and ``init_cfg=dict(type='Pretrained')``.
    """
    original = CheckpointLoader.load_checkpoint

    @functools.wraps(original)
    def load_checkpoint(filename: str, *args: Any, **kwargs: Any) -> dict:
        path = os.path.expanduser(filename)
        try:
            _check_size(path)
            checkpoint = original(filename, *args, **kwargs)
            state = checkpoint.get('state_dict', checkpoint)
            if not isinstance(state, dict):
                raise TypeError(f'its state_dict is a {type(state).__name__}, not a dict')
        except Exception as error:
            if isinstance(error, OSError) and not os.path.isfile(path):
                raise  # A file that is missing, or a server: these say so.
            raise pickle.UnpicklingError(
                f'{filename!r} cannot be read, expected a whole checkpoint that holds weights '
                f'and no code. {type(error).__name__}: {error}'
            ) from error
        return checkpoint

    CheckpointLoader.load_checkpoint = staticmethod(load_checkpoint)


def _check_size(path: str) -> None:
    """Refuses an archive that would grow: torch saves without compression.

    Args:
        path (str): A file. Anything else, such as a URL, is left to mmengine.
    """
    if not os.path.isfile(path):
        return
    with open(path, 'rb') as file:
        # By this torch tells a zip archive from its older formats.
        if file.read(4) != b'PK\x03\x04':
            return
        size = os.path.getsize(path)
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > size:
        raise ValueError(
            f'its {size} bytes would unpack to {unpacked}, expected no more than they are'
        )

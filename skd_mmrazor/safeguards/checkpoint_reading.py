"""Files that are not whole checkpoints are refused by name, and run no code.

mmengine gives every local file to ``torch.load``, whose errors do not say which
file they are about: of an empty one it is ``EOFError``, of a text ``KeyError: 101``.
A checkpoint is a zip archive, and torch unpacks whatever size an entry claims to
have: three megabytes can ask for three gigabytes.
"""

import contextlib
import os
import pickle
import re
import reprlib
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from ..compat.checkpoints import loads_weights_only
from ..compat.patches import safeguards


@contextlib.contextmanager
def reading(filename: str) -> Iterator[None]:
    """Checks a file before it is read, and names it in errors of reading it.

    Args:
        filename (str): A path, or a URL.

    Raises:
        UnpicklingError: It cannot be read.
        IsADirectoryError: It is a folder.
    """
    path = os.path.expanduser(filename)
    if os.path.isdir(path):
        raise IsADirectoryError(f'{filename!r} is a folder, expected a checkpoint.')
    try:
        _check_size(path)
        yield
    except Exception as error:
        if isinstance(error, OSError) and not os.path.isfile(path):
            raise  # A missing file or a server, which the message names.
        # The rest of torch's message advises to run the code of the file.
        reason = re.search(r'(?:WeightsUnpickler error:\s*|(?=Trying to load))(\S.*)', str(error))
        raise pickle.UnpicklingError(
            f'{filename!r} cannot be read, expected a whole checkpoint that holds weights '
            f'and no code. {type(error).__name__}: {reason[1] if reason else error}'
        ) from error


@safeguards.wrapping('mmengine.runner.CheckpointLoader.load_checkpoint')
def read_checkpoint_safely(original: Callable, filename: str, *args: Any, **kwargs: Any) -> dict:
    """Checks a file before and after it is read, and names it in errors.

    ``load_from``, ``resume``, ``teacher_ckpt`` and ``init_cfg=dict(type='Pretrained')``
    all read their checkpoints so, and so does ``FlexibleRunner``.

    Why: a damaged file is an error without its name, a small file can unpack to gigabytes, and
    resuming executes the text in `meta['config']`. All loading passes here.
    """
    with reading(filename):
        checkpoint = original(filename, *args, **kwargs)
        is_dict = isinstance(checkpoint, dict)
        state = checkpoint.get('state_dict', checkpoint) if is_dict else checkpoint
        if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
            raise TypeError(f'{reprlib.repr(state)} is no dict of weights by their names')
    if isinstance(checkpoint.get('meta'), dict):
        # To find the number of GPUs of an old format, mmengine executes it.
        checkpoint['meta'].pop('config', None)
    return checkpoint


@safeguards.wrapping(
    'mmengine.runner.checkpoint.load_url',
    needed=loads_weights_only,
)
def load_weights_only_by_url(original: Callable, *args: Any, **kwargs: Any) -> Any:
    """Puts downloaded checkpoints under the rule for local files.

    Why: a checkpoint that comes by URL can run code: `torch.hub` loads it with
    `weights_only=False`.
    """
    return original(*args, weights_only=True, **kwargs)


def _check_size(path: str) -> None:
    """Refuses an archive that would grow: torch saves without compression.

    Args:
        path (str): A file. Anything else, such as a URL, is left to mmengine.
    """
    if not os.path.isfile(path):
        return
    with open(path, 'rb') as file:
        # torch recognises a zip archive, and not its older formats, by these bytes.
        if file.read(4) != b'PK\x03\x04':
            return
        size = os.path.getsize(path)
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > size:
        raise ValueError(
            f'its {size} bytes would unpack to {unpacked}, expected no more than they are'
        )

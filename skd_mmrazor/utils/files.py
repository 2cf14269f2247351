"""Files that take their place when they are whole."""

import contextlib
import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_beside(path: str | os.PathLike) -> Iterator[str]:
    """Gives the name of a file that takes the place of another when it is whole.

    Each writer has a file of its own, in the same folder. Files that killed writers
    have left there are removed.

    Args:
        path (str or PathLike): The file to write.

    Yields:
        str: The file to write to. It is removed if that fails.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield os.fspath(path)  # Such as /dev/null, which no file may replace.
        return
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    part = f'{os.fspath(path)}.{uuid.uuid4().hex}.tmp'
    with contextlib.ExitStack() as stack:
        while not os.path.exists(part):
            # The lock says that the writer lives; a cleaner may have been faster.
            file = os.open(part, os.O_CREAT | os.O_WRONLY, 0o666)
            stack.callback(os.close, file)
            with contextlib.suppress(OSError):  # A file system without locks.
                fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield part
            os.replace(part, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(part)


def remove_leftovers(folder: Path) -> None:
    """Removes what writers that are dead have left in a folder.

    Args:
        folder (Path): The folder.
    """
    for part in folder.glob('*.tmp'):
        if re.fullmatch(r'.+\.[0-9a-f]{32}\.tmp', part.name):
            with contextlib.suppress(OSError), open(part) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()

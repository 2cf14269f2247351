"""Files that are replaced only once the new one is complete."""

import contextlib
import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_beside(path: str | os.PathLike) -> Iterator[str]:
    """Writes a file under a temporary name, and renames it when it is complete.

    Each writer has a file of its own, in the same folder. Files that killed writers
    have left there are removed.

    Args:
        path (str or PathLike): The file to write.

    Yields:
        str: The temporary name to write to. The file is removed if writing fails.

    Raises:
        OSError: The file could not be written. It is named, as a full disk alone does not.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield os.fspath(path)  # Such as /dev/null, which must not be replaced.
        return
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    part = f'{os.fspath(path)}.{uuid.uuid4().hex}.tmp'
    with contextlib.ExitStack() as stack:
        while not os.path.exists(part):
            # The lock shows that the writer is alive. Another process may remove the file
            # before it is locked: then try again.
            file = os.open(part, os.O_CREAT | os.O_WRONLY, 0o666)
            stack.callback(os.close, file)
            with contextlib.suppress(OSError):  # A file system without locks.
                fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield part
            os.replace(part, path)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.remove(part)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files that killed writers have left in a folder.

    Args:
        folder (Path): The folder.
    """
    for part in folder.glob('*.tmp'):
        if re.fullmatch(r'.+\.[0-9a-f]{32}\.tmp', part.name):
            with contextlib.suppress(OSError), open(part) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()

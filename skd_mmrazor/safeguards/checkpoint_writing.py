"""A run that is killed while it saves keeps its last whole checkpoint.

mmengine 0.10 writes a checkpoint, and the file that names the last one, in
place, and removes the outdated checkpoint *before* it writes the new one. Killed
in between, a run with ``max_keep_ckpts=1`` has none left.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook

from ..compat.patches import safeguards


@contextlib.contextmanager
def _beside(path: str | os.PathLike) -> Iterator[str]:
    """Gives the name of a file that takes the place of another when it is whole."""
    part = f'{os.fspath(path)}.tmp'
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(part)


@safeguards.replacing(
    'mmengine.fileio.LocalBackend.put',
    reason='a checkpoint is written in place: of a run that is killed meanwhile, neither the old '
    'nor the new one is whole',
)
def put_whole(original: Callable) -> Callable:
    """Writes a file beside its place and moves it there. Other storage is left alone."""

    @functools.wraps(original)
    def put(self: LocalBackend, obj: bytes, filepath: str | os.PathLike) -> None:
        with _beside(filepath) as part:
            original(self, obj, part)

    return put


@safeguards.replacing(
    'mmengine.hooks.checkpoint_hook.open',
    reason='the file `last_checkpoint` is written in place',
)
def open_whole(original: None) -> Callable:
    """Takes the place of ``open`` where the hook writes ``last_checkpoint``."""

    @contextlib.contextmanager
    def open_beside(path: str, mode: str) -> Iterator[IO]:
        with _beside(path) as part, open(part, mode) as file:
            yield file

    return open_beside


class _RemoveLater:
    """A file backend whose removals wait."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.waiting: list[Callable[[], None]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.waiting.append(functools.partial(self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.waiting.append(functools.partial(self.backend.rmtree, path))


@safeguards.replacing(
    'mmengine.hooks.CheckpointHook._save_checkpoint_with_step',
    'mmengine.hooks.CheckpointHook._save_best_checkpoint',
    reason='outdated checkpoints are removed before the new one is saved',
)
def remove_last(original: Callable) -> Callable:
    """Removes outdated checkpoints once the new one is in place."""

    @functools.wraps(original)
    def save(self: CheckpointHook, *args: Any, **kwargs: Any) -> None:
        backend = getattr(self, 'file_backend', None)
        if backend is None:
            # A validation without training has set up no storage.
            original(self, *args, **kwargs)
            return
        self.file_backend = _RemoveLater(backend)
        try:
            original(self, *args, **kwargs)
            for remove in self.file_backend.waiting:
                remove()
        finally:
            self.file_backend = backend

    return save

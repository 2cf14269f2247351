"""A run that is killed while it saves keeps its last whole checkpoint.

mmengine 0.10 writes a checkpoint, and the file that names the last one, in
place, and removes the outdated checkpoint *before* it writes the new one. Killed
in between, a run with ``max_keep_ckpts=1`` is lost.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import mmengine.hooks.checkpoint_hook as checkpoint_hook
import mmengine.runner as mmengine_runner
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook


@functools.cache  # Once, however often it is called.
def save_checkpoints_whole() -> None:
    """Has mmengine put each file in its place when it is whole, and remove
    outdated ones last.

    Written is what mmengine writes; storage that is not a local disk is left as
    it is.
    """
    save = _write_whole(mmengine_runner.save_checkpoint)
    for module in (mmengine_runner, mmengine_runner.checkpoint, mmengine_runner.runner):
        module.save_checkpoint = save
    # The one file that this module opens is ``last_checkpoint``.
    checkpoint_hook.open = _open_whole
    for name in ('_save_checkpoint_with_step', '_save_best_checkpoint'):
        setattr(CheckpointHook, name, _remove_last(getattr(CheckpointHook, name)))


def _write_whole(save: Callable) -> Callable:
    @functools.wraps(save)
    def save_checkpoint(
        checkpoint: dict,
        filename: str,
        file_client_args: dict | None = None,
        backend_args: dict | None = None,
    ) -> None:
        local = file_client_args is None and isinstance(
            get_file_backend(filename, backend_args=backend_args), LocalBackend
        )
        target = f'{filename}.tmp' if local else filename
        save(checkpoint, target, file_client_args, backend_args)
        if local:
            os.replace(target, filename)

    return save_checkpoint


@contextmanager
def _open_whole(path: str, mode: str) -> Iterator[IO]:
    with open(f'{path}.tmp', mode) as file:
        yield file
    os.replace(f'{path}.tmp', path)


class _RemoveLater:
    """A file backend that waits with removals."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.waiting: list[functools.partial] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.waiting.append(functools.partial(self.backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.waiting.append(functools.partial(self.backend.rmtree, path))


def _remove_last(save: Callable) -> Callable:
    @functools.wraps(save)
    def wrapper(self: CheckpointHook, *args: Any, **kwargs: Any) -> None:
        backend = getattr(self, 'file_backend', None)
        if backend is None:
            # A validation without training has set up no storage.
            save(self, *args, **kwargs)
            return
        self.file_backend = _RemoveLater(backend)
        try:
            save(self, *args, **kwargs)
            for remove in self.file_backend.waiting:
                remove()
        finally:
            self.file_backend = backend

    return wrapper

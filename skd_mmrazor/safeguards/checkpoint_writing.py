"""A run that is killed while it saves keeps its last whole checkpoint.

mmengine 0.10 writes a checkpoint, and the file that names the last one, in
place, and removes the outdated checkpoint *before* it writes the new one. Killed
in between, a run with ``max_keep_ckpts=1`` has none left.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from ..compat.patches import safeguards
from ..utils.files import write_beside

# In the message hub: checkpoints that are to be removed once the next one is in place.
OUTDATED = 'outdated_checkpoints'


@safeguards.wrapping('mmengine.fileio.LocalBackend.put')
def put_whole(
    original: Callable, self: LocalBackend, obj: bytes, filepath: str | os.PathLike
) -> None:
    """Writes a file beside its place and moves it there. Other storage is left alone.

    Why: a checkpoint is written in place: of a run that is killed meanwhile, neither the old nor
    the new one is whole.
    """
    with write_beside(filepath) as part:
        original(self, obj, part)


@safeguards.wrapping('mmengine.hooks.checkpoint_hook.open')
@contextlib.contextmanager
def open_whole(original: Callable, path: str, mode: str) -> Iterator[IO]:
    """Takes the place of ``open`` where the hook writes ``last_checkpoint``.

    Why: the file `last_checkpoint` is written in place.
    """
    with write_beside(path) as part, open(part, mode) as file:
        yield file


class _RemoveLater:
    """A file backend that postpones removals.

    Checkpoints list the postponed removals, so that a run that is killed before them
    makes them when it is resumed.
    """

    def __init__(self, backend: Any, message_hub: MessageHub) -> None:
        self.backend = backend
        self.message_hub = message_hub

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        outdated = self.message_hub.get_info(OUTDATED, [])
        self.message_hub.update_info(OUTDATED, [*outdated, path])

    rmtree = remove  # Of a folder, as DeepSpeed saves it.


def remove_outdated(backend: Any, message_hub: MessageHub) -> None:
    """Makes the postponed removals.

    Args:
        backend (BaseStorageBackend): Where the checkpoints are.
        message_hub (MessageHub): That of the run, which lists them.
    """
    for path in message_hub.get_info(OUTDATED, []):
        # Another run in the same folder may have been faster.
        with contextlib.suppress(FileNotFoundError):
            (backend.rmtree if backend.isdir(path) else backend.remove)(path)
    message_hub.update_info(OUTDATED, [])


@safeguards.wrapping(
    'mmengine.hooks.CheckpointHook._save_checkpoint_with_step',
    'mmengine.hooks.CheckpointHook._save_best_checkpoint',
)
def remove_last(
    original: Callable, self: CheckpointHook, runner: Runner, *args: Any, **kwargs: Any
) -> None:
    """Removes outdated checkpoints once the new one is in place.

    Why: outdated checkpoints are removed before the new one is saved.
    """
    backend = getattr(self, 'file_backend', None)
    # A validation without training has set up no storage. Saving the best checkpoint
    # saves the last one within the same call.
    if backend is None or isinstance(backend, _RemoveLater):
        original(self, runner, *args, **kwargs)
        return
    self.file_backend = _RemoveLater(backend, runner.message_hub)
    try:
        original(self, runner, *args, **kwargs)
        remove_outdated(backend, runner.message_hub)
    finally:
        self.file_backend = backend

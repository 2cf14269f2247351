"""A run that was killed while it saved resumes from its newest whole checkpoint.

mmengine resumes from the checkpoint that the file ``last_checkpoint`` names. A run that
is killed before it writes that file has a newer one, and the outdated checkpoints that
it was about to remove are never removed.
"""

import logging
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader

from ..compat.patches import safeguards
from ..utils.files import remove_leftovers
from .checkpoint_writing import OUTDATED, remove_outdated


@safeguards.wrapping(
    'mmengine.runner.runner.find_latest_checkpoint',
    'mmengine.runner._flexible_runner.find_latest_checkpoint',
)
def find_newest_whole_checkpoint(original: Callable, path: str) -> str | None:
    """Looks beside the checkpoint that ``last_checkpoint`` names for newer ones.

    Why: a run that is killed between a checkpoint and the file `last_checkpoint`, or whose last
    checkpoint is damaged, does not resume from the newest whole one.
    """
    last = original(path)
    if last and os.path.exists(last) and not os.path.isfile(last):
        return last  # A folder, as DeepSpeed saves it.
    folder = os.path.dirname(last) if last else path
    named = Path(path, 'last_checkpoint').stat().st_mtime_ns if last else 0
    number = _get_number(last) if last else 0
    found = {}
    for file in Path(folder).glob(_get_pattern(last)):
        # Of the same run: a folder may have checkpoints of an older one.
        later = _get_number(file) > number and file.stat().st_mtime_ns > named
        if zipfile.is_zipfile(file) and (later or _get_number(file) <= number):
            found[_get_number(file)] = str(file)
    newest = found[max(found)] if found else last
    if newest != last:
        message = f'last_checkpoint names {last}, but {newest} is the newest whole checkpoint.'
        print_log(message, 'current', logging.WARNING)
    return newest


def _get_number(path: str | Path) -> int:
    return int((re.findall(r'\d+', Path(path).stem) or [0])[-1])


def _get_pattern(last: str | None) -> str:
    """The names of the checkpoints of a run, which differ in a number."""
    return re.sub(r'\d+', '*', os.path.basename(last)) if last else '[ei][pt]*_*.pth'


@safeguards.wrapping('mmengine.hooks.CheckpointHook.before_train')
def finish_removals(original: Callable, self: CheckpointHook, runner: Runner) -> None:
    """Makes the removals that a killed run has left.

    Why: outdated checkpoints of a run that is killed before it removes them are never removed.
    """
    if runner._resume:
        _take_over_best(self, runner)
    original(self, runner)
    remove_leftovers(Path(self.out_dir))
    # Of this run: one that was resumed elsewhere leaves the first alone.
    outdated = [
        path
        for path in runner.message_hub.get_info(OUTDATED, [])
        if os.path.dirname(path) == str(self.out_dir) and os.path.isfile(path)
    ]
    runner.message_hub.update_info(OUTDATED, outdated)
    remove_outdated(self.file_backend, runner.message_hub)


def _take_over_best(hook: CheckpointHook, runner: Runner) -> None:
    """Takes over a best checkpoint that the last one does not know of."""
    info = runner.message_hub.runtime_info
    last = Path(info.get('last_ckpt', ''))
    if not hook.save_best or not last.is_file():
        return
    for key in hook.key_indicators:
        best = last.with_name(f'best_{key}_{last.name}'.replace('/', '_'))
        if best.is_file() and best.stat().st_mtime_ns > last.stat().st_mtime_ns:
            saved = CheckpointLoader.load_checkpoint(str(best), map_location='cpu')
            found = saved['message_hub']['runtime_info']
            info.update({k: v for k, v in found.items() if k.startswith('best_') or k == OUTDATED})

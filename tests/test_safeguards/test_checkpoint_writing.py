import builtins
import os
import shutil
import signal

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.logging import MessageHub
from mmengine.runner import find_latest_checkpoint
from mmengine.runner.runner import find_latest_checkpoint as find

from skd_mmrazor.safeguards.checkpoint_writing import OUTDATED, _RemoveLater, remove_outdated

from ..conftest import run_python
from .killed_run import KEEP_ONE, build


def kill(work_dir, name, stack, *after):
    run_python(
        *('-m', 'tests.test_safeguards.killed_run', work_dir, name, stack, *after),
        returncode=-signal.SIGKILL,
    )


def epochs(work_dir):
    """The epoch of each checkpoint in a folder, all of which have to be whole."""
    return {path.name: torch.load(path)['meta']['epoch'] for path in work_dir.glob('*.pth')}


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'left'),
    [
        ('epoch_2.pth', {'epoch_1.pth': 1, 'best_score_epoch_1.pth': 1}),
        ('last_checkpoint', {'epoch_1.pth': 1, 'best_score_epoch_1.pth': 1}),
        ('best_score_epoch_2.pth', {'epoch_2.pth': 2, 'best_score_epoch_1.pth': 1}),
    ],
)
def test_a_killed_run_leaves_whole_files_only(tmp_path, name, left):
    """With ``max_keep_ckpts=1``, whichever file was being written."""
    kill(tmp_path, name, 'plugin')
    assert epochs(tmp_path) == left
    last = find_latest_checkpoint(tmp_path)
    assert last == str(tmp_path / f'epoch_{2 if name.startswith("best") else 1}.pth')

    runner = build(tmp_path, resume=True)
    runner.train()
    assert runner.epoch == 2
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    assert epochs(tmp_path)['epoch_2.pth'] == 2
    assert not list(tmp_path.glob('*.tmp'))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'after', 'left'),
    [
        (
            'last_checkpoint',
            'epoch_2.pth',
            {'epoch_1.pth', 'epoch_2.pth', 'best_score_epoch_1.pth'},
        ),
        ('epoch_1.pth', 'epoch_2.pth', {'epoch_1.pth', 'epoch_2.pth', 'best_score_epoch_1.pth'}),
        (
            'epoch_2.pth',
            'best_score_epoch_2.pth',
            {'epoch_2.pth', 'best_score_epoch_1.pth', 'best_score_epoch_2.pth'},
        ),
        (
            'best_score_epoch_1.pth',
            'best_score_epoch_2.pth',
            {'epoch_2.pth', 'best_score_epoch_1.pth', 'best_score_epoch_2.pth'},
        ),
    ],
    ids=['naming the last', 'removing the last', 'saving again', 'removing the best'],
)
def test_a_run_that_is_killed_after_it_saved_goes_on_from_there(tmp_path, name, after, left):
    """And it removes the checkpoints that the killed run was about to remove."""
    kill(tmp_path, name, 'plugin', after)
    assert set(epochs(tmp_path)) == left
    runner = build(tmp_path, resume=True, max_epochs=3)
    runner.load_or_resume()
    assert runner.epoch == 2
    runner.train()
    assert epochs(tmp_path) == {'epoch_3.pth': 3, 'best_score_epoch_3.pth': 3}
    assert not list(tmp_path.glob('*.tmp'))


def test_resuming_takes_the_newest_whole_checkpoint(tmp_path):
    build(tmp_path, default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1))).train()
    first, second = (tmp_path / f'epoch_{epoch}.pth' for epoch in (1, 2))
    named = tmp_path / 'last_checkpoint'
    # One that an older run has left, or a copy without times, does not count.
    shutil.copy(first, tmp_path / 'epoch_100.pth')
    os.utime(tmp_path / 'epoch_100.pth', (0, 0))
    assert find(tmp_path) == str(second)
    named.write_text(str(first))
    os.utime(named, ns=(second.stat().st_mtime_ns - 1,) * 2)
    assert find(tmp_path) == str(second)
    os.utime(named, ns=(second.stat().st_mtime_ns + 1,) * 2)
    assert find(tmp_path) == str(first), 'what was trained from is not overridden'
    named.write_text(str(second))
    second.write_bytes(second.read_bytes()[:-100])
    assert find(tmp_path) == str(first)
    whole = first.read_bytes()
    first.write_bytes(b'')
    assert find(tmp_path) == str(second), 'whose error names it'
    first.write_bytes(whole)
    (tmp_path / 'epoch_3').mkdir()
    named.write_text(str(tmp_path / 'epoch_3'))
    assert find(tmp_path) == str(tmp_path / 'epoch_3'), 'a folder, as DeepSpeed saves it'


def test_a_run_goes_on_where_another_has_removed_its_outdated_checkpoint(tmp_path, monkeypatch):
    """Two trainings in one folder, of the same names."""
    original = os.replace

    def replace(source, target):
        original(source, target)
        if os.path.basename(target) == 'epoch_2.pth':
            (tmp_path / 'epoch_1.pth').unlink(missing_ok=True)

    monkeypatch.setattr(os, 'replace', replace)
    build(tmp_path).train()
    assert set(epochs(tmp_path)) == {'epoch_2.pth', 'best_score_epoch_2.pth'}


@pytest.mark.slow
def test_mmengine_alone_loses_all_checkpoints(tmp_path):
    """Shows the need for the safeguard; fails once mmengine no longer needs it."""
    kill(tmp_path, 'epoch_2.pth', 'mmengine')
    last = find_latest_checkpoint(tmp_path)
    assert last == str(tmp_path / 'epoch_1.pth')
    with pytest.raises(FileNotFoundError):
        torch.load(last)
    with pytest.raises(RuntimeError, match='zip archive'):
        torch.load(tmp_path / 'epoch_2.pth')


def test_files_take_their_place_when_they_are_whole(tmp_path, monkeypatch):
    """No file of a run is opened for writing under its own name."""
    opened, moved = [], []

    def watching_open(path, mode='r', *args, **kwargs):
        if 'w' in mode and str(path).startswith(str(tmp_path)):
            opened.append(os.path.basename(path))
        return original_open(path, mode, *args, **kwargs)

    def watching_replace(source, target):
        size = os.path.getsize(source)
        original_replace(source, target)
        moved.append((os.path.basename(source), os.path.basename(target), size))

    original_open, original_replace = builtins.open, os.replace
    monkeypatch.setattr(builtins, 'open', watching_open)
    monkeypatch.setattr(os, 'replace', watching_replace)
    build(tmp_path).train()
    monkeypatch.undo()

    written = {'epoch_1.pth', 'epoch_2.pth', 'best_score_epoch_1.pth', 'last_checkpoint'}
    assert written < {target for _, target, _ in moved}
    assert all(source.startswith(f'{target}.') and size > 0 for source, target, size in moved)
    assert len({source for source, _, _ in moved}) == len(moved), 'each has a name of its own'
    assert not {target for _, target, _ in moved} & set(opened)
    assert not list(tmp_path.rglob('*.tmp'))


def test_an_uninterrupted_run_leaves_what_mmengine_leaves(tmp_path):
    """Though several checkpoints are outdated at once."""
    keep = dict(KEEP_ONE, save_best=['score', 'other'])
    runner = build(tmp_path, default_hooks=dict(checkpoint=keep))
    runner.train()
    assert runner.message_hub.get_info(OUTDATED) == [], 'all are removed'
    names = {path.name for path in tmp_path.iterdir() if path.suffix != '.py' and path.is_file()}
    best = {'best_score_epoch_2.pth', 'best_other_epoch_2.pth'}
    assert names == {'epoch_2.pth', *best, 'last_checkpoint'}
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')


def test_a_run_that_is_resumed_elsewhere_leaves_the_first_alone(tmp_path):
    """It may list checkpoints of the first that are outdated, and removes its own only."""
    theirs, ours = (tmp_path / folder / 'epoch_0.pth' for folder in 'ab')
    for path in (theirs, ours):
        path.parent.mkdir()
        path.touch()
    runner = build(tmp_path / 'b')
    runner.message_hub.update_info(OUTDATED, [str(theirs), str(ours)])
    runner.train()
    assert (theirs.exists(), ours.exists()) == (True, False)


def test_a_folder_too_is_removed_only_later(tmp_path):
    """As DeepSpeed saves a checkpoint."""
    hub, folder = MessageHub(tmp_path.name), tmp_path / 'epoch_1'
    folder.mkdir()
    _RemoveLater(LocalBackend(), hub).rmtree(str(folder))
    assert folder.is_dir()
    remove_outdated(LocalBackend(), hub)
    assert not folder.exists()

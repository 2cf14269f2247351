import signal

import mmengine.runner
import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import find_latest_checkpoint

from skd_mmrazor.compat.checkpoint_writes import save_checkpoints_whole

from ..conftest import run_python
from .killed_run import build


def kill(work_dir, name, stack):
    run_python(
        *('-m', 'tests.test_compat.killed_run', work_dir, name, stack),
        returncode=-signal.SIGKILL,
    )


@pytest.mark.slow
@pytest.mark.parametrize('name', ['epoch_2.pth', 'last_checkpoint', 'best_score_epoch_2.pth'])
def test_the_last_whole_checkpoint_loads(tmp_path, name):
    """With ``max_keep_ckpts=1``, whichever file was being written."""
    kill(tmp_path, name, 'plugin')
    # The last checkpoint is the second epoch's where that was whole already.
    epoch = 2 if name.startswith('best') else 1
    last = find_latest_checkpoint(tmp_path)
    assert last == str(tmp_path / f'epoch_{epoch}.pth')
    assert torch.load(last)['meta']['epoch'] == epoch
    assert torch.load(tmp_path / 'best_score_epoch_1.pth')['meta']['epoch'] == 1

    runner = build(tmp_path, resume=True)
    runner.train()
    assert runner.epoch == 2
    assert torch.load(find_latest_checkpoint(tmp_path))['meta']['epoch'] == 2


@pytest.mark.slow
def test_mmengine_alone_loses_all_checkpoints(tmp_path):
    """What the plugin is for; fails when mmengine does better itself."""
    kill(tmp_path, 'epoch_2.pth', 'mmengine')
    last = find_latest_checkpoint(tmp_path)
    assert last == str(tmp_path / 'epoch_1.pth')
    with pytest.raises(FileNotFoundError):
        torch.load(last)
    with pytest.raises(RuntimeError, match='zip archive'):
        torch.load(tmp_path / 'epoch_2.pth')


def test_an_uninterrupted_run_leaves_what_mmengine_leaves(tmp_path):
    build(tmp_path).train()
    names = {path.name for path in tmp_path.iterdir() if path.suffix != '.py' and path.is_file()}
    assert {'epoch_2.pth', 'best_score_epoch_2.pth', 'last_checkpoint'} == names
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')


def test_applying_twice_changes_nothing():
    before = mmengine.runner.save_checkpoint, CheckpointHook._save_checkpoint_with_step
    save_checkpoints_whole()
    assert (mmengine.runner.save_checkpoint, CheckpointHook._save_checkpoint_with_step) == before

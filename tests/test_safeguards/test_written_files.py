"""Files take their place when they are whole, whoever else writes there or dies."""

import builtins
import errno
import fcntl
import os
from pathlib import Path

import pytest
from mmengine.fileio import LocalBackend

from skd_mmrazor.utils.files import write_beside

from .killed_run import HalfFile


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    """Whatever their order, the file is one of theirs and whole."""
    path = tmp_path / 'epoch_1.pth'
    with write_beside(path) as a, write_beside(path) as b:
        assert os.path.dirname(a) == os.path.dirname(b) == str(tmp_path)
        Path(a).write_bytes(b'aaaa')
        Path(b).write_bytes(b'b')
    assert path.read_bytes() == b'aaaa'
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    leftover = tmp_path / f'epoch_1.pth.{"0" * 32}.tmp'
    leftover.touch()
    mine = tmp_path / 'mine.tmp'
    mine.touch()
    with write_beside(tmp_path / 'epoch_2.pth') as part:
        assert not leftover.exists()
        with write_beside(tmp_path / 'epoch_3.pth'):
            assert os.path.exists(part), 'its writer is alive'
    assert {path.name for path in tmp_path.iterdir()} == {
        'epoch_2.pth',
        'epoch_3.pth',
        mine.name,
    }


def test_a_file_that_another_process_removes_before_it_is_locked_is_made_again(
    tmp_path, monkeypatch
):
    def remove_first(file, operation):
        monkeypatch.undo()
        next(tmp_path.glob('*.tmp')).unlink()

    monkeypatch.setattr(fcntl, 'flock', remove_first)
    with write_beside(tmp_path / 'epoch_1.pth') as part:
        Path(part).read_bytes()
    assert (tmp_path / 'epoch_1.pth').exists()


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    """As ``/dev/null``; here, a pipe."""
    os.mkfifo(tmp_path / 'pipe')
    with write_beside(tmp_path / 'pipe') as part:
        assert part == str(tmp_path / 'pipe')
    assert (tmp_path / 'pipe').is_fifo()


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """As where the disk is full; and the half of the new one is removed."""
    path = tmp_path / 'folder' / 'epoch_1.pth'
    LocalBackend().put(b'old', path)

    class FullDisk(HalfFile):
        def write(self, data):
            self.file.write(data[:1])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    original = builtins.open
    monkeypatch.setattr(builtins, 'open', lambda *args: FullDisk(original(*args)))
    with pytest.raises(OSError, match=r'No space left.*epoch_1\.pth'):
        LocalBackend().put(b'new', path)
    monkeypatch.undo()
    assert path.read_bytes() == b'old'
    assert list(path.parent.iterdir()) == [path]

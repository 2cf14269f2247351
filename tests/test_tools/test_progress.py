"""Progress goes to a terminal, and what a command prints to its file."""

import os
import pty
import subprocess
import sys

from ..conftest import ROOT

SCRIPT = """
from skd_mmrazor.utils.progress import busy, track

with busy('thinking'):
    pass
for row in track(range(3), 'rows'):
    print('row', row)
"""


def test_a_terminal_shows_the_bar_and_a_file_has_the_rows(tmp_path):
    ours, theirs = pty.openpty()
    with open(tmp_path / 'table', 'w') as table:
        command = [sys.executable, '-W', 'ignore', '-c', SCRIPT]
        environment = {**os.environ, 'TERM': 'xterm', 'PYTHONPATH': str(ROOT)}
        subprocess.run(command, check=True, stdout=table, stderr=theirs, env=environment)
    shown = os.read(ours, 1 << 20).decode()
    assert 'thinking' in shown
    assert 'rows' in shown
    assert '3/3' in shown
    assert (tmp_path / 'table').read_text() == 'row 0\nrow 1\nrow 2\n'


def test_a_log_file_has_no_bars():
    command = [sys.executable, '-W', 'ignore', '-c', SCRIPT]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert (result.stdout, result.stderr) == ('row 0\nrow 1\nrow 2\n', '')

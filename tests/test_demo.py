"""The notebook: its outputs are there, and it runs from the first cell to the last."""

import json
import os
import re

import nbformat
import pytest
from nbclient import NotebookClient

from .conftest import ROOT

PATH = ROOT / 'demo' / 'skd_in_ten_minutes.ipynb'


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == 'code']


def text_of(notebook):
    """All texts that the cells have printed."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return ''.join(output.text for output in outputs if output.output_type == 'stream')


def accuracies(notebook):
    """Of the teacher, of the student in training, and of the student by itself."""
    return [float(a) for a in re.findall(r'([\d.]+) % of .* right', text_of(notebook))]


def test_the_outputs_are_committed():
    """Those of one run from top to bottom, small, and without a trace of its machine."""
    assert PATH.stat().st_size < 400_000
    notebook = nbformat.read(PATH, 4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    pictures = [o for cell in cells for o in cell.outputs if 'image/png' in o.get('data', {})]
    assert len(pictures) == 4
    written = re.sub(r'"image/png": "[^"]*"', '', json.dumps(notebook))
    assert not re.search(r'(?<![\w.])/(home|root|tmp|usr|opt|work|mnt|Users)/', written)
    assert not re.search(r'WARNING|Traceback|\x1b', text_of(notebook))
    teacher, trained, alone = accuracies(notebook)
    assert teacher > 98
    assert trained == alone > 96


def test_its_links_lead_somewhere():
    for cell in nbformat.read(PATH, 4).cells:
        for link in re.findall(r'\]\(([^)#]+)\)', cell.source):
            assert (PATH.parent / link).exists(), link


@pytest.mark.nightly
@pytest.mark.parametrize('epochs', [6, 60])
def test_it_runs(tmp_path, monkeypatch, epochs):
    """In another folder, in a tenth of its epochs too; the student leaves with its accuracy."""
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'demo').mkdir()
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    notebook = nbformat.read(PATH, 4)
    (cell,) = [cell for cell in code_cells(notebook) if 'EPOCHS = 60\n' in cell.source]
    cell.source = cell.source.replace('EPOCHS = 60\n', f'EPOCHS = {epochs}\n')
    resources = {'metadata': {'path': tmp_path / 'demo'}}
    NotebookClient(notebook, timeout=1200, kernel_name='python3', resources=resources).execute()
    teacher, trained, alone = accuracies(notebook)
    assert teacher > 50
    assert trained == alone > 50
    assert len(list(tmp_path.glob('demo/work_dirs/student/*.pth'))) == 1

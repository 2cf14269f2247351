"""Mistakes of users end each tool with one sentence, and spoil no file."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from skd_mmrazor.utils.files import write_beside

from ..conftest import ROOT
from ..digits_runs import KD, digits, train

TOOLS = ROOT / 'tools'
SKD = ROOT / 'configs' / 'digits' / f'skd_{KD}.py'
QUICK = [
    'model.teacher_ckpt=None',
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.indices=64',
    'val_dataloader.dataset.indices=64',
]


@pytest.fixture
def run(monkeypatch, capsys, files):
    """Runs a tool in the folder as its own command would; returns its code and stderr."""

    def run_here(tool, *arguments):
        monkeypatch.chdir(files)
        monkeypatch.syspath_prepend(str(TOOLS))
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        capsys.readouterr()
        try:
            if isinstance(tool, str):
                runpy.run_module(tool, run_name='__main__')
            else:
                runpy.run_path(str(tool), run_name='__main__')
        except SystemExit as error:
            said = capsys.readouterr().err
            is_text = isinstance(error.code, str)
            return (1, error.code) if is_text else (error.code, said)
        return 0, capsys.readouterr().err

    return run_here


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A folder with what is no config and no checkpoint, and one of each."""
    folder = tmp_path_factory.mktemp('files')
    (folder / 'empty.py').touch()
    (folder / 'byte.py').write_text('x')
    (folder / 'spos.py').write_text("algorithm = dict(type='SPOS')")
    (folder / 'alone.py').write_text(
        "custom_imports = dict(imports=['skd_mmrazor'])\n"
        "model = dict(type='mmrazor.SingleTeacherDistill', distiller=dict())"
    )
    (folder / 'mmaction.py').write_text("model = dict(type='mmaction.Recognizer2D')")
    (folder / 'imports.py').write_text(
        "custom_imports = dict(imports=['mmaction.models'], allow_failed_imports=False)\n"
        "model = dict(type='mmaction.Recognizer2D')"
    )
    (folder / 'folder.py').mkdir()
    (folder / 'binary.py').write_bytes(bytes(range(256)))
    (folder / 'empty.pth').touch()
    (folder / 'byte.pth').write_text('x')
    (folder / 'folder.pth').mkdir()
    torch.save([], folder / 'list.pth')
    torch.save(dict(state_dict={1: torch.ones(1)}), folder / 'names.pth')
    (folder / 'log.json').write_text('{}')
    train(folder / 'run', **{'train_cfg.max_epochs': 1})
    digits(folder / 'work').dump(folder / 'skd.py')
    whole = (folder / 'run' / 'epoch_1.pth').read_bytes()
    (folder / 'cut').mkdir()
    (folder / 'cut' / 'epoch_1.pth').write_bytes(whole[: len(whole) // 2])
    (folder / 'cut' / 'last_checkpoint').write_text(str(folder / 'cut' / 'epoch_1.pth'))
    return folder


CONVERTER = TOOLS / 'model_converters' / 'convert_kd_ckpt_to_student.py'
MDISTILLER = TOOLS / 'model_converters' / 'mdistiller2mmpretrain.py'
ONNX = TOOLS / 'deployment' / 'pytorch2onnx.py'
STORE = TOOLS / 'store_teacher.py'
PLOT = TOOLS / 'analysis_tools' / 'plot_curves.py'
COMPARE = 'benchmarks.accuracy.compare'
CHECKPOINT = 'run/epoch_1.pth'
INSTALL = 'expected mmaction to be installed (pip install mmaction2)'


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        ((TOOLS / 'train.py', 'none.py'), "config='none.py'"),
        ((TOOLS / 'train.py', 'empty.py'), "config='empty.py', expected one with a model"),
        (
            (TOOLS / 'train.py', 'spos.py'),
            'expected one with a model, which mmrazor 0.x calls algo',
        ),
        ((TOOLS / 'train.py', 'alone.py'), "missing 1 required positional argument: 'teacher'"),
        ((TOOLS / 'train.py', 'byte.py'), "config='byte.py'"),
        ((TOOLS / 'train.py', 'folder.py'), "config='folder.py'"),
        ((TOOLS / 'train.py', 'binary.py'), "config='binary.py'"),
        ((TOOLS / 'train.py', 'imports.py'), "No module named 'mmaction'"),
        *(
            ((tool, 'mmaction.py', *rest), f"model.type='mmaction.Recognizer2D', {INSTALL}")
            for tool, *rest in (
                (TOOLS / 'train.py',),
                (TOOLS / 'test.py', 'none'),
                (CONVERTER, CHECKPOINT),
                (ONNX, CHECKPOINT),
                (STORE, '--path', 'store'),
                (COMPARE,),
            )
        ),
        ((TOOLS / 'train.py', SKD, '--amp', '--cfg-options', *QUICK), '--amp: found CPUs alone'),
        ((TOOLS / 'train.py', SKD, '--cfg-options', 'a'), "--cfg-options: 'a', expected KEY=VALUE"),
        ((TOOLS / 'train.py', SKD, '--cfg-options', 'model.type.x=1'), '--cfg-options='),
        (
            (TOOLS / 'train.py', SKD, '--work-dir', 'cut', '--resume', '--cfg-options', *QUICK),
            'cut/epoch_1.pth',
        ),
        (
            (TOOLS / 'train.py', SKD, '--cfg-options', *QUICK, 'runner_type=FlexibleRunner'),
            "FrozenTeacherValLoop: runner_type='FlexibleRunner', expected 'Runner'",
        ),
        (
            (TOOLS / 'train.py', SKD, '--work-dir', 'cut', '--cfg-options', *QUICK, 'resume=True'),
            'cut/epoch_1.pth',
        ),
        (
            (TOOLS / 'test.py', 'skd.py', CHECKPOINT, '--cfg-options', 'test_evaluator.topk=(11,)'),
            'Top-11 accuracy is unavailable',
        ),
        (
            (TOOLS / 'test.py', 'skd.py', 'names.pth'),
            "'names.pth' cannot be read, expected a whole",
        ),
        ((TOOLS / 'test.py', 'skd.py', 'folder.pth'), "'folder.pth' is a folder"),
        (
            (TOOLS / 'train.py', SKD, '--cfg-options', 'model.teacher_ckpt=folder.pth'),
            "'folder.pth' is a folder",
        ),
        ((CONVERTER, 'skd.py', 'list.pth'), "'list.pth' cannot be read, expected a whole"),
        ((TOOLS / 'test.py', 'skd.py', 'byte.pth'), 'byte.pth'),
        ((CONVERTER, 'skd.py', 'empty.pth'), 'empty.pth'),
        ((CONVERTER, 'skd.py', CHECKPOINT, '--out-path', 'byte.py'), 'byte.py'),
        ((ONNX, 'skd.py', CHECKPOINT), "model.type='SingleTeacherDistill'"),
        ((ONNX, 'skd.py', CHECKPOINT, '--output-file', 'x'), "'x', expected a file .onnx"),
        ((MDISTILLER, 'byte.pth', 'new.pth', '--arch', 'vgg8'), 'byte.pth'),
        ((MDISTILLER, 'byte.pth', 'new', '--arch', 'vgg8'), "'new', expected a file .pth"),
        ((STORE, 'byte.py'), "config='byte.py'"),
        ((STORE, 'log.json', '--path', 'store'), "config='log.json', expected one with a model"),
        (
            (STORE, SKD, '--path', 'store', '--cfg-options', 'train_cfg=None'),
            'train_cfg.max_epochs=None',
        ),
        ((PLOT, 'byte.py'), 'byte.py'),
        ((PLOT, 'run', '--out', 'curves'), "'curves', expected a file .png"),
        ((PLOT, 'run', '--out', 'log.json'), "'log.json', expected a file .png"),
        ((COMPARE, 'none.py'), "config='none.py'"),
        ((COMPARE, 'skd.py', '--out', 'table'), "'table', expected a file .csv"),
        (('skd_mmrazor.__main__', 'x'), 'unrecognized arguments: x'),
    ],
    ids=lambda value: (
        None if isinstance(value, str) else '-'.join(str(v).split('/')[-1] for v in value[:3])
    ),
)
def test_a_mistake_ends_in_one_sentence(run, files, command, message):
    before = {path: path.stat().st_mtime_ns for path in files.glob('*') if path.is_file()}
    code, said = run(*command)
    assert code != 0
    # argparse says how to call a tool before it says what is wrong.
    *usage, sentence = said.strip().splitlines()
    assert message in sentence
    assert not usage or usage[0].startswith('usage: ')
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_mistake_is_one_line_on_stderr(files):
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', str(TOOLS / 'train.py'), 'byte.py'],
        cwd=files,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    # Those of packages that do not respect -W.
    (line,) = (line for line in result.stderr.splitlines() if not re.search('warn', line, re.I))
    assert "config='byte.py'" in line
    assert line.endswith('(SKD_TRACEBACK=1 shows the traceback)')


def test_a_traceback_can_be_had(run, monkeypatch):
    monkeypatch.setenv('SKD_TRACEBACK', '1')
    with pytest.raises(ValueError, match='byte') as caught:
        run(TOOLS / 'train.py', 'byte.py')
    assert caught.value.__cause__ is not None


def test_what_exists_is_kept(run, files):
    """Though nobody gave its name."""
    assert run(PLOT, 'run') == (0, '')
    picture = (files / 'run' / 'curves.png').read_bytes()
    (files / 'run' / 'curves.png').write_bytes(b'mine')
    code, said = run(PLOT, 'run')
    assert code == 1
    assert 'run/curves.png exists already, expected a new name or --force' in said
    assert (files / 'run' / 'curves.png').read_bytes() == b'mine'
    assert run(PLOT, 'run', '--force') == (0, '')
    assert (files / 'run' / 'curves.png').read_bytes() == picture


def test_what_cannot_be_finished_leaves_nothing(tmp_path):
    def write():
        with write_beside(tmp_path / 'student.pth') as part:
            torch.save({}, part)
            Path('/dev/full').write_bytes(Path(part).read_bytes())

    with pytest.raises(OSError, match=r"No space left on device: '.*student\.pth'"):
        write()
    assert not list(tmp_path.iterdir())

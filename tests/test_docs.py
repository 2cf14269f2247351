"""The commands of the documents are run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT
from .digits_runs import KD, train

pytestmark = pytest.mark.slow


def blocks(name):
    """The fenced blocks of a document: language and text."""
    text = (ROOT / 'docs' / name).read_text()
    return re.findall(r'^```(bash|python)\n(.*?)^```$', text, flags=re.DOTALL | re.MULTILINE)


def run(language, text, cwd):
    command = ['bash', '-e', '-c', text] if language == 'bash' else [sys.executable, '-c', text]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']])
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, 'PATH': path, 'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, f'{text}\n{result.stdout[-3000:]}'
    return result.stdout


def test_inference(tmp_path):
    """From a distillation to a folder of labelled pictures, and to ONNX."""
    work_dir = tmp_path / 'work_dirs' / f'skd_{KD}'
    train(work_dir)
    shutil.copy(work_dir / 'epoch_2.pth', work_dir / 'epoch_60.pth')
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(ROOT / name)
    found = blocks('use_the_student.md')
    assert [language for language, _ in found] == ['bash', 'python', 'python', 'bash', 'python']
    outputs = [
        run(*block, tmp_path)
        for block in found
        if 'onnx' not in block[1] or find_spec('onnxruntime')
    ]
    images, pictures = (sorted((tmp_path / d).iterdir()) for d in ('digits', 'predictions'))
    assert len(images) == 12
    assert [p.stem for p in images] == [p.stem for p in pictures]
    classes = re.findall(r'digits/\d\d_is_\d\.png (\d) [01]\.\d\d$', outputs[2], re.MULTILINE)
    assert len(classes) == 12
    for image, picture in zip(images, pictures, strict=True):
        drawn = np.asarray(Image.open(picture))
        assert drawn.shape == (320, 320, 3)
        larger = np.asarray(Image.open(image).resize((320, 320), Image.BILINEAR))
        assert np.abs(drawn[..., 0].astype(int) - larger).max() > 100, 'something is written on it'
    if find_spec('onnxruntime'):
        assert outputs[4].strip().splitlines()[-1] == classes[0]

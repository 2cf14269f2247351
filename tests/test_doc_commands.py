"""The commands and configs of the documents: run as they stand there, or at least all there."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmrazor.registry import HOOKS, MODELS
from PIL import Image

from .conftest import ROOT
from .digits_runs import KD
from .documents import GUIDES, PAGES, blocks, name, read

README = ROOT / 'README.md'
# What a command may need that the tests do not have.
NEEDS = {'GPU', 'GPU, data', 'hours', 'network', 'dense'}
# Commands that make an environment, or that are not of this repository.
STUBS = """
for name in . cd git mim mypy pip pre-commit pytest python3 ruff sphinx-build DIR/bin/python; do
    eval "function $name { :; }"
done
"""
# Nothing is run: what is no function is not found.
RECORD = """
PATH=/nowhere
command_not_found_handle() { :; }
record() { printf '%s\\t' "$@"; echo; }
python() { record "$@"; }
for name in tools/dist_train.sh tools/slurm_train.sh; do
    eval "function $name { record $name; }"
done
"""
# The configs of the pages that are of no other test.
CONFIGS = ['README', 'add_skd', 'concepts', 'importing', 'speed', 'stored_teacher', 'training']


def run(language, text, cwd=ROOT):
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


def wrong_commands(text):
    """Commands of this repository without their file, or with a flag that it lacks."""
    wrong = []
    for line in run('bash', STUBS + RECORD + text).splitlines():
        script, *words = line.rstrip('\t').split('\t')
        if script == '-m':
            script, *words = [f'{words[0].replace(".", "/")}.py', *words[1:]]
        # Of other packages, or where the user has put this repository.
        if not script.startswith(('benchmarks', 'demo', 'tools', 'upstream')):
            continue
        file = ROOT / script
        # Flags may be those of a module beside it.
        own = read(file) if file.exists() else ''
        beside = [file.with_name(f'{m}.py') for m in re.findall(r'^from \.(\w+) import', own, re.M)]
        shared = ROOT / 'skd_mmrazor/utils/command_line.py'
        source = own + ''.join(map(read, [*beside, shared]))
        # A parser may add its flags in a loop over their names.
        flag = r"'(?:--)?([a-z-]+)'" if "add(f'--{" in source else r"'--([a-z-]+)'"
        names = set(re.findall(flag, source))
        flags = [word for word in words if word.startswith('--') and word[2:] not in names]
        configs = [word for word in words if re.match('(benchmarks|configs)/', word)]
        wrong += [script] * (not file.exists()) + [f'{script} {flag}' for flag in flags]
        wrong += [config for config in configs if not (ROOT / config).exists()]
    return wrong


@pytest.mark.parametrize('path', GUIDES, ids=name)
def test_the_commands_of_a_page_are_there(path):
    assert not wrong_commands(''.join(b.text for b in blocks(read(path)) if b.language == 'bash'))


def test_a_wrong_command_is_found():
    text = 'cd x && python tools/train.py configs/{digits,x}/*60e.py --ampere --amp --config\n'
    found = wrong_commands(text + 'python tools/gone.py && python -m benchmarks.speed.step --x')
    assert found == [
        *(
            'tools/train.py --ampere',
            'tools/train.py --config',
            'configs/digits/*60e.py',
            'configs/x/*60e.py',
        ),
        *('tools/gone.py', 'benchmarks/speed/step.py --x'),
    ]


@pytest.mark.parametrize('path', PAGES, ids=name)
def test_a_command_of_a_page_is_run_or_says_what_it_needs(path):
    assert {b.comment for b in blocks(read(path)) if b.language == 'bash'} <= {'', *NEEDS}


@pytest.fixture
def folder(tmp_path):
    """A user's folder, with the config that the pages add SKD to."""
    (tmp_path / 'my_kd_config.py').write_text(f"_base_ = ['{ROOT}/configs/digits/{KD}.py']\n")
    lazy = tmp_path / 'lazy'
    lazy.mkdir()
    (lazy / 'my_kd_config.py').write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n'
        f'    from skd_mmrazor.configs.digits.{KD.replace("-w", "_w")} import *\n'
    )
    return tmp_path


def configs(page):
    path = README if page == 'README' else ROOT / 'docs' / f'{page}.md'
    return [b.text for b in blocks(read(path)) if b.language == 'python']


@pytest.mark.parametrize(
    ('page', 'text'),
    [
        pytest.param(page, text, id=f'{page}-{i}')
        for page in CONFIGS
        for i, text in enumerate(configs(page))
    ],
)
def test_a_config_of_a_page_is_read_and_built(page, text, folder):
    is_lazy = 'read_base' in text
    if not is_lazy and '_base_' not in text:
        # A part of a config: of SKD, or of KD if it has a distiller of its own.
        base = KD if 'distiller = ' in text else f'skd_{KD}'
        text = f"_base_ = ['{ROOT}/configs/digits/{base}.py']\n{text}"
    file = folder / ('lazy' if is_lazy else '.') / 'my_skd_config.py'
    file.write_text(text)
    cfg = Config.fromfile(file)
    if 'distiller = ' in text:
        cfg.model.distiller = cfg.distiller
        cfg.model.distiller._scope_ = 'mmrazor'
    if 'distiller' in text:
        cfg.model.teacher_ckpt = None
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmrazor')):
            simplifiers = [
                module
                for module in MODELS.build(cfg.model).modules()
                if type(module).__name__ == 'AttentionSimplifierConnector'
            ]
        assert len(simplifiers) == 1
    for hook in cfg.get('custom_hooks', ()):
        HOOKS.build(hook)


@pytest.fixture
def clone(tmp_path):
    """A clone in which the digits are 64 images, validated thrice: 60 epochs take seconds."""
    for part in ('skd_mmrazor', 'tools', 'benchmarks'):
        (tmp_path / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    for part, before, after in (
        (
            'datasets/digits_bs32',
            "type='skd_mmrazor.Digits',",
            "type='skd_mmrazor.Digits', indices=64,",
        ),
        ('schedules/digits_60e', 'val_interval=1)', 'val_interval=20)'),
    ):
        file = tmp_path / f'configs/_base_/{part}.py'
        assert before in read(file)
        file.write_text(read(file).replace(before, after))
    return tmp_path


@pytest.mark.nightly
def test_the_commands_of_the_pages_run_in_their_order(clone):
    """From the main job to a folder of labelled pictures, ONNX and a stored teacher."""
    outputs = {}
    pages = [ROOT / f'docs/{page}.md' for page in ('concepts', 'use_the_student', 'stored_teacher')]
    for page in (README, *pages):
        for block in blocks(read(page)):
            is_script = block.language == 'python' and page.stem == 'use_the_student'
            is_command = block.language == 'bash' and block.comment in ('', 'main job')
            has_onnx = 'onnx' not in block.text or find_spec('onnxruntime')
            if (is_command or is_script) and has_onnx:
                text = STUBS + block.text if is_command else block.text
                outputs[block] = run(block.language, text, clone)
    work_dir = clone / f'work_dirs/skd_{KD}'
    assert Image.open(work_dir / 'curves.png').size[0] > 1000
    (scalars,) = work_dir.glob('*/vis_data/scalars.json')
    logged = {key for line in read(scalars).splitlines() for key in json.loads(line)}
    documented = set(re.findall(r'`(distill\.\w+)`', read(README)))
    assert documented == {k for k in logged if k.startswith('distill.') and '.loss' not in k}

    images, pictures = (sorted((clone / d).iterdir()) for d in ('digits', 'predictions'))
    assert len(images) == 12
    assert [p.stem for p in images] == [p.stem for p in pictures]
    output = '\n'.join(outputs.values())
    classes = re.findall(r'digits/\d\d_is_\d\.png (\d) [01]\.\d\d$', output, re.MULTILINE)
    assert len(classes) == 12
    for image, picture in zip(images, pictures, strict=True):
        drawn = np.asarray(Image.open(picture))
        assert drawn.shape == (320, 320, 3)
        larger = np.asarray(Image.open(image).resize((320, 320), Image.BILINEAR))
        assert np.abs(drawn[..., 0].astype(int) - larger).max() > 100, 'something is written on it'
    for block, output in outputs.items():
        if 'onnxruntime.InferenceSession' in block.text:
            assert output.strip().splitlines()[-1] == classes[0]
    assert (clone / 'data/stored/digits/header.json').exists()

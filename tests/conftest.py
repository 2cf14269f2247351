"""Shared by all tests: small models, and Python processes of their own."""

import functools
import gc
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from mmengine.config import config
from mmengine.config import utils as config_utils
from mmengine.registry import DefaultScope

import skd_mmrazor.safeguards  # noqa: F401  (tests run as the tools do)

ROOT = Path(__file__).parent.parent


# On a GPU too, what is computed twice is the same, and float32 is float32.
torch.backends.cudnn.deterministic = True
torch.backends.cudnn.allow_tf32 = False

# For each base of mmpretrain, mmengine reads all of its metafiles anew.
config_utils.load = functools.cache(config_utils.load)
# A runner writes its config five times. Laying it out took half the time of a short run.
config.FormatCode = lambda code, **_: (code, True)


def pytest_collection_finish():
    """Data sets of mmengine collect garbage, among all that is imported and collected here."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


_SCOPES = dict(DefaultScope._instance_dict)


@pytest.fixture(autouse=True)
def _scope():
    """A runner, of a fixture too, leaves its default scope, in which the next test would build."""
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(_SCOPES)


def once_per_run(tmp_path_factory, name, make):
    """A folder that is filled by ``make`` in one of the workers, and read by all.

    pytest makes the temporary folders of its workers side by side.
    """
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if 'PYTEST_XDIST_WORKER' in os.environ else root) / name
    done = folder.with_suffix('.done')
    with FileLock(folder.with_suffix('.lock')):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@functools.cache
def start_fork_server():
    """Starts the process of ``fork_server.py`` that this one's programs are forks of."""
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', ROOT / 'tests' / 'fork_server.py'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run_python(*arguments, check=True, returncode=0, fresh=False):
    """Runs a Python program; returns its output, stdout and stderr together.

    It runs in a process in which torch, torchvision and mmengine are already imported,
    unless a fresh one is asked for or there is a GPU, which no fork could use.
    """
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    argv, env = [*map(str, arguments)], {**os.environ, 'PYTHONPATH': path}
    with tempfile.NamedTemporaryFile() as output:
        if fresh or torch.cuda.is_available():
            command = [sys.executable, '-W', 'ignore', *argv]
            streams = dict(stdout=output, stderr=output)
            found = subprocess.run(command, cwd=ROOT, env=env, timeout=900, **streams).returncode
        else:
            server = start_fork_server()
            request = dict(argv=argv, cwd=str(ROOT), env=env, output=output.name)
            print(json.dumps(request), file=server.stdin, flush=True)
            assert select.select([server.stdout], [], [], 900)[0], Path(output.name).read_text()
            found = int(server.stdout.readline())
        text = Path(output.name).read_text()
    if check:
        assert found == returncode, text[-4000:]
    return text


def classifier(width, num_classes=10):
    """A small mmpretrain classifier of one-channel images."""
    return dict(
        _scope_='mmpretrain',
        type='ImageClassifier',
        backbone=dict(
            type='ResNet_CIFAR',
            depth=18,
            in_channels=1,
            stem_channels=width,
            base_channels=width,
            num_stages=2,
            strides=(1, 2),
            dilations=(1, 1),
            out_indices=(1,),
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(
            type='LinearClsHead',
            num_classes=num_classes,
            in_channels=2 * width,
            loss=dict(type='CrossEntropyLoss'),
        ),
    )


ARGUMENTS = {
    'KLDivergence': ('preds_S', 'preds_T'),
    'LogSpaceKLDivergence': ('preds_S', 'preds_T'),
    'CrossEntropyLoss': ('preds_S', 'preds_T'),
    'KDSoftCELoss': ('preds_S', 'preds_T'),
    'DISTLoss': ('logits_S', 'logits_T'),
    'DKDLoss': ('preds_S', 'preds_T', 'gt_labels'),
    'LogSpaceDKDLoss': ('preds_S', 'preds_T', 'gt_labels'),
    'L2Loss': ('s_feature', 't_feature'),
    'WSLD': ('student', 'teacher', 'gt_labels'),
}


def distiller(losses, skd=True, **arguments):
    """A distiller of logits; ``losses`` maps names to loss configs."""

    def record(argument, position):
        if argument == 'gt_labels':
            return dict(recorder='gt_labels', from_student=True, data_idx=1)
        return dict(recorder='fc', from_student=position == 0)

    fc = dict(type='ModuleOutputs', source='head.fc')
    cfg = dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            fc=fc, gt_labels=dict(type='ModuleInputs', source='head.loss_module')
        ),
        teacher_recorders=dict(fc=dict(fc)),
        distill_losses=losses,
        loss_forward_mappings={
            name: {a: record(a, i) for i, a in enumerate(ARGUMENTS[loss['type']])}
            for name, loss in losses.items()
        },
    )
    if skd:
        cfg.update(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
    cfg.update(arguments)
    return cfg


def algorithm(distiller, **arguments):
    """SingleTeacherDistill of two small classifiers."""
    cfg = dict(
        _scope_='mmrazor',
        type='SingleTeacherDistill',
        architecture=classifier(2),
        teacher=classifier(4),
        distiller=distiller,
    )
    cfg.update(arguments)
    return cfg


def batch(size=6, num_classes=10, dtype=torch.float32):
    """Random images and labels, as a data preprocessor would give them."""
    from mmpretrain.structures import DataSample

    labels = torch.randint(num_classes, (size,))
    samples = [DataSample().set_gt_label(label) for label in labels]
    return torch.randn(size, 1, 8, 8, dtype=dtype), samples

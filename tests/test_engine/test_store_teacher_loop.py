"""Storing without a training: the loop and its tool store what a training reads."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from torch.utils.data import BatchSampler

from ..conftest import ROOT, run_python
from ..digits_runs import KD, digits
from .frozen_teachers import DATA
from .stored_teachers import STORE, build, data, get_store, model, run


def test_the_loop_stores_in_the_precision_of_the_training(tmp_path):
    amp = dict(type='mmengine.AutocastOnCPU', optimizer=dict(type='SGD', lr=0.1))
    loop = dict(type='mmrazor.StoreTeacherLoop', max_epochs=1)
    runner = run(tmp_path / 'a', tmp_path / 'store', optim_wrapper=amp, train_cfg=loop)
    logits, stored = get_store(runner).read(0, range(32))
    assert stored.all()
    assert not (logits.view(np.uint32) & 0xFFFF).any(), 'more digits than bfloat16 has'


@MODELS.register_module(force=True)
class BrightInTraining(ClsDataPreprocessor):
    def forward(self, data, training=False):
        data = super().forward(data, training)
        return dict(data, inputs=2 * data['inputs']) if training else data


def test_the_loop_stores_what_a_training_does(tmp_path):
    """Of the modes of a training, in which the data preprocessor may do something else."""
    settings = dict(model=model(data_preprocessor=dict(DATA, type='mmpretrain.BrightInTraining')))
    trained = run(tmp_path / 'a', tmp_path / 'trained', **settings)
    stored = run(tmp_path / 'b', tmp_path / 'stored', train_cfg=STORE, **settings)
    for view in (0, 1):
        rows = [get_store(runner).read(view, range(32))[0] for runner in (trained, stored)]
        np.testing.assert_allclose(*rows, rtol=1e-4, atol=1e-5)


def test_the_loop_counts_what_is_there(tmp_path):
    def store():
        runner, found = build(tmp_path / 'run', tmp_path / 'store', train_cfg=STORE), []
        runner.train_loop.report = lambda *counts: found.append(counts)
        runner.train()
        return runner, found

    runner, found = store()
    assert found == [(done, 64) for done in (0, 8, 16, 24, 32, 32, 40, 48, 56, 64)]
    rows = tmp_path / 'store' / 'view_0000.rows'
    rows.write_bytes(rows.read_bytes()[: 20 * get_store(runner).dtype.itemsize])
    assert store()[1] == [(20, 64), (28, 64), (32, 64), (64, 64)]
    assert store()[1] == [(32, 64), (64, 64)]


def test_the_loop_ends_where_nothing_more_can_be_stored(tmp_path):
    run(tmp_path / 'a', tmp_path / 'store', train_cfg=STORE)
    (tmp_path / 'store' / 'view_0001.rows').unlink()
    (tmp_path / 'store' / 'view_0001.rows').symlink_to('/dev/full')
    with pytest.raises(OSError, match='No space left on device'):
        run(tmp_path / 'b', tmp_path / 'store', train_cfg=STORE)


def test_the_loop_loads_by_as_many_workers_as_the_training(tmp_path):
    settings = dict(train_dataloader=data(num_workers=2), train_cfg=STORE)
    loop = build(tmp_path / 'run', tmp_path / 'store', **settings).train_loop
    found = loop._get_loader(np.arange(32))
    assert (found.num_workers, found.batch_size) == (2, 8)
    assert found.worker_init_fn is loop.dataloader.worker_init_fn is not None


def test_the_loop_takes_the_size_of_a_batch_sampler(tmp_path):
    DATA_SAMPLERS.register_module('BatchSampler', force=True, module=BatchSampler)
    loader = data(batch_sampler=dict(type='BatchSampler', drop_last=False))
    runner = run(tmp_path / 'run', tmp_path / 'store', train_dataloader=loader, train_cfg=STORE)
    assert get_store(runner).get_stored(1).all()


def test_two_loops_share_the_images(tmp_path):
    """And store what one stores by itself."""
    loop = dict(STORE, max_epochs=1)
    whole = get_store(run(tmp_path / 'whole', tmp_path / 'a', train_cfg=loop))
    for part in (0, 1):
        half = run(tmp_path / f'{part}', tmp_path / 'b', train_cfg=dict(loop, part=part, parts=2))
        assert get_store(half).get_stored(0).tolist() == [True, part == 1] * 16
    rows = (store.read(0, range(32))[0] for store in (whole, get_store(half)))
    np.testing.assert_allclose(*rows, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_tool_stores_what_a_training_reads(tmp_path):
    """In two processes, and again where one view is missing."""
    cfg = digits(tmp_path / 'run')
    cfg.custom_hooks += [
        dict(type='mmrazor.StoredTeacherHook', path=str(tmp_path / 'store'), views=2),
        # It draws validation images, which storing leaves out.
        dict(type='mmrazor.SimplifierVisualizationHook'),
    ]
    cfg.dump(tmp_path / 'config.py')
    tool = ('tools/store_teacher.py', tmp_path / 'config.py')
    assert '192/192' in run_python(*tool, '--processes', 2)
    (tmp_path / 'store' / 'view_0001.rows').unlink()
    # The view that is there is not gone through again.
    counted = [int(done) for done in re.findall(r'(\d+)/192', run_python(*tool))]
    assert max(counted) == 192
    Runner.from_cfg(cfg).train()
    (log,) = (tmp_path / 'run').glob('*/*.log')
    assert log.read_text().count('read 96 of 96 rows') == 2


@pytest.mark.nightly  # In the quick run, that of one process is in test_mistakes.py.
def test_the_tool_says_why_its_processes_failed(tmp_path):
    """In a sentence of each, and none is missed."""
    (tmp_path / 'cut.pth').write_bytes(b'PK')
    output = run_python(
        *('tools/store_teacher.py', f'configs/digits/skd_{KD}.py', '--processes', 2),
        *('--path', tmp_path / 'store', '--cfg-options'),
        f'model.teacher_ckpt={tmp_path / "cut.pth"}',
        returncode=1,
    )
    assert 'Traceback' not in output
    assert output.count(f"'{tmp_path}/cut.pth' cannot be read") == 2
    assert '2 of 2 processes failed; what is above says why.' in output


def start_tool(store, **arguments):
    """In a group of its own, and waits until it has stored a view."""
    tool = ('tools/store_teacher.py', f'configs/digits/skd_{KD}.py', '--path', store)
    options = ('--processes', 2, '--views', 500, '--cfg-options', 'model.teacher_ckpt=None')
    command = [sys.executable, *map(str, (*tool, *options))]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **arguments)
    while not (store / 'view_0001.rows').exists() and process.poll() is None:
        time.sleep(0.1)
    return process


@pytest.mark.nightly
def test_no_process_outlives_the_tool(tmp_path):
    """By SIGTERM, as a scheduler sends it."""
    tool = start_tool(tmp_path / 'store')
    tool.terminate()
    assert tool.wait() == -signal.SIGTERM
    deadline = time.time() + 30
    with contextlib.suppress(ProcessLookupError):
        while time.time() < deadline:
            os.killpg(tool.pid, 0)
            time.sleep(0.1)
        pytest.fail('a process goes on')


@pytest.mark.nightly
def test_an_interrupted_tool_says_that_it_can_go_on(tmp_path):
    tool = start_tool(tmp_path / 'store', stderr=subprocess.PIPE, text=True)
    os.killpg(tool.pid, signal.SIGINT)  # As a terminal does.
    said = tool.communicate()[1]
    assert 'Stopped. The same command goes on from here.' in said
    assert 'Traceback' not in said

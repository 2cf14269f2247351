import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from skd_mmrazor.datasets.logit_store import LogitStore

from ..conftest import ROOT

HEADER = dict(samples=64, classes=12, dtype='float32', top_k=None)
# Writes and reads a store for ever. Rows of a view are all alike but for their number.
WORKER = """
import sys
import numpy as np
from skd_mmrazor.datasets.logit_store import LogitStore
from tests.test_datasets.test_logit_store import HEADER, make_logits

store = LogitStore(sys.argv[1], HEADER)
choose = np.random.default_rng(int(sys.argv[2]))
print('ready', flush=True)
for _ in range(int(sys.argv[3])):
    indices = choose.choice(64, 16, replace=False)
    logits, stored = store.read(3, indices)
    assert np.array_equal(logits[stored], make_logits(indices)[stored])
    store.write(3, indices, store.encode(make_logits(indices)))
"""


def make_logits(indices):
    return np.sin(np.arange(12) + np.asarray(indices)[:, None] * 12).astype(np.float32) * 20


def start(path, seed, rounds):
    command = [sys.executable, '-W', 'ignore', '-c', WORKER, path, seed, rounds]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )


def full(path, indices=range(64), **header):
    store = LogitStore(str(path), dict(HEADER, **header))
    store.write(0, indices, store.encode(make_logits(indices)))
    return store


def softmax(logits, tau):
    return torch.from_numpy(logits).double().div(tau).log_softmax(1)


def divergence(store, logits, tau):
    """Mean KL divergence of the logits that are read from those that were stored."""
    ours, theirs = softmax(store.decode(store.encode(logits)), tau), softmax(logits, tau)
    return (theirs.exp() * (theirs - ours)).sum(1)


def test_rows_come_back_bitwise_and_others_are_missing(tmp_path):
    store = full(tmp_path / 'store', [5, 63, 0])
    for reader in (store, LogitStore(store.path, HEADER)):
        logits, stored = reader.read(0, [0, 1, 63, 5, 62])
        assert stored.tolist() == [True, False, True, True, False]
        assert np.array_equal(logits[stored], make_logits([0, 63, 5]))
        assert np.flatnonzero(reader.get_stored(0)).tolist() == [0, 5, 63]
        assert not reader.get_stored(1).any()
        assert not reader.read(1, [0])[1].any()
        assert reader.get_views() == [0]


def test_damaged_rows_may_name_classes_that_there_are_not(tmp_path):
    store = full(tmp_path / 'store', top_k=3)
    file = store.path / 'view_0000.rows'
    file.write_bytes(b'\xff' * file.stat().st_size)
    assert not store.read(0, range(64))[1].any()


def test_numpy_opens_a_view(tmp_path):
    store = full(tmp_path / 'store')
    rows = np.memmap(store.path / 'view_0000.rows', store.dtype, 'r')
    assert np.array_equal(rows['logits'], make_logits(range(64)))


@pytest.mark.parametrize('top_k', [None, 3])
@pytest.mark.parametrize('dtype', ['float32', 'float16'])
def test_sizes_are_those_of_the_docs(tmp_path, dtype, top_k):
    store = full(tmp_path / 'store', dtype=dtype, top_k=top_k)
    value = dict(float32=4, float16=2)[dtype]
    size = 4 + (12 * value if top_k is None else 4 + 3 * (value + 2))
    assert store.dtype.itemsize == size
    assert (store.path / 'view_0000.rows').stat().st_size == 64 * size


def test_float16_stays_within_its_bound(tmp_path):
    store = full(tmp_path / 'store', dtype='float16')
    logits = make_logits(range(64))
    for tau in (1, 4):
        bound = (np.abs(logits).max(1) * 2**-11 / tau) ** 2 / 2
        found = divergence(store, logits, tau).numpy()
        assert (found <= bound).all()
        assert found.max() > 0


def test_the_rest_of_the_mass_is_shared_evenly(tmp_path):
    """Of each image by itself, however far above the others its logits are."""
    store = full(tmp_path / 'store', top_k=3)
    logits = make_logits(range(64)) + np.float32(500) * (np.arange(64, dtype='f')[:, None] % 2)
    found = store.decode(store.encode(logits))
    kept = np.argsort(-logits, 1)[:, :3]
    assert np.array_equal(*(np.take_along_axis(z, kept, 1) for z in (found, logits)))
    ours, theirs = (softmax(z, 4).exp().gather(1, torch.from_numpy(kept)) for z in (found, logits))
    assert torch.allclose(ours, theirs, rtol=1e-4)
    others = np.sort(found, 1)[:, :-3]
    assert (others == others[:, :1]).all()


def test_more_classes_kept_are_less_error(tmp_path):
    logits = make_logits(range(64))
    errors = [divergence(full(tmp_path / str(k), top_k=k), logits, 4).mean() for k in (1, 4, 8, 11)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-3
    assert errors[-1] < 1e-9


@pytest.mark.parametrize(('classes', 'size'), [(1 << 16, 2), ((1 << 16) + 1, 4)])
def test_numbers_of_classes_are_as_large_as_they_need_to_be(tmp_path, classes, size):
    store = LogitStore(str(tmp_path / 'store'), dict(HEADER, classes=classes, top_k=1))
    logits = np.zeros((1, classes), np.float32)
    logits[0, -1] = 5
    assert store.decode(store.encode(logits)).argmax() == classes - 1
    assert store.dtype['classes'].base.itemsize == size


def test_a_logit_beyond_float16_is_refused(tmp_path):
    store = full(tmp_path / 'store', dtype='float16')
    with pytest.raises(ValueError, match=r"dtype='float16', expected 'float32', .* 7e\+04"):
        store.encode(np.full((1, 12), 7e4, np.float32))


@pytest.mark.parametrize('damage', ['flip', 'cut', 'zero', 'row', 'view'])
def test_a_damaged_row_counts_as_missing_and_can_be_written_again(tmp_path, damage):
    store = full(tmp_path / 'store')
    file, size = store.path / 'view_0000.rows', store.dtype.itemsize
    data = bytearray(file.read_bytes())
    row = 63
    if damage == 'flip':
        row = 7
        data[row * size + 20] ^= 1
    elif damage == 'cut':
        del data[-10:]
    elif damage == 'row':  # Another stands in its place.
        data[row * size :] = data[:size]
    elif damage == 'view':
        store.write(1, [row], store.encode(make_logits([row])))
        data[row * size :] = (store.path / 'view_0001.rows').read_bytes()[row * size :]
    else:
        data[row * size :] = bytes(size)
    file.write_bytes(data)
    assert np.flatnonzero(~store.get_stored(0)).tolist() == [row]
    assert store.read(0, [row - 1, row])[1].tolist() == [True, False]
    store.write(0, [row], store.encode(make_logits([row])))
    assert store.get_stored(0).all()


def test_a_row_of_zeros_is_a_row(tmp_path):
    store = full(tmp_path / 'store')
    store.write(0, [7], store.encode(np.zeros((1, 12), np.float32)))
    logits, stored = store.read(0, [7])
    assert stored.all()
    assert not logits.any()


def test_other_files_are_no_views(tmp_path):
    """Such as the copies that a file manager or a synchronization makes."""
    store = full(tmp_path / 'store')
    for name in ('view_0000 (copy).rows', 'view_0001.rows.part', 'view_x.rows'):
        (store.path / name).touch()
    assert store.get_views() == [0]


def test_a_view_that_cannot_be_read_has_no_rows(tmp_path):
    store = full(tmp_path / 'store')
    (store.path / 'view_0001.rows').mkdir()
    assert not store.get_stored(1).any()
    assert not store.read(1, [0])[1].any()
    with pytest.raises(OSError, match='view_0001'):
        store.write(1, [0], store.encode(make_logits([0])))


def test_a_disk_that_is_full_within_a_row_is_the_reason(tmp_path):
    store = LogitStore(str(tmp_path / 'store'), HEADER)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (store.dtype.itemsize * 5 // 2, limits[1]))
    try:
        with pytest.raises(OSError, match='too large'):
            store.write(0, range(4), store.encode(make_logits(range(4))))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.read(0, range(4))[1].tolist() == [True, True, False, False]


@pytest.mark.slow
def test_processes_share_a_store_and_a_kill_corrupts_nothing(tmp_path):
    """Each reads what others write; one is killed while it writes."""
    path = tmp_path / 'store'
    processes = [start(path, seed, rounds) for seed, rounds in ((1, 1000), (2, 1000), (3, 10**9))]
    for process in processes:
        assert process.stdout.readline() == b'ready\n'
    time.sleep(0.3)
    processes[2].send_signal(signal.SIGKILL)
    assert [process.wait(60) for process in processes] == [0, 0, -signal.SIGKILL]
    store = LogitStore(str(path), HEADER)
    assert store.get_stored(3).all()
    assert np.array_equal(store.read(3, range(64))[0], make_logits(range(64)))
    assert [file.name for file in tmp_path.iterdir()] == ['store']


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        (dict(classes=13), 'whose classes is 13 and not 12'),
        (dict(dtype='float16'), "whose dtype is 'float16' and not 'float32'"),
        (dict(teacher='ab'), "whose teacher is 'ab' and not 'cd'"),
        (dict(teacher=dict(a=1)), "whose teacher is {'a': 1} and not 'cd'"),
        (dict(pipeline=[dict(a=1), dict(b=2)]), r'whose pipeline\[1\].b is 2 and not 3'),
    ],
)
def test_another_store_is_refused_by_what_differs(tmp_path, header, message):
    theirs = dict(HEADER, teacher='cd', pipeline=[dict(a=1), dict(b=3)])
    for _ in range(2):
        LogitStore(str(tmp_path / 'store'), theirs)
    with pytest.raises(ValueError, match=message):
        LogitStore(str(tmp_path / 'store'), dict(theirs, **header))


@pytest.mark.parametrize('header', [None, '{"version', '[]'])
def test_a_folder_of_something_else_is_refused(tmp_path, header):
    (tmp_path / 'something').touch()
    if header is not None:
        (tmp_path / 'header.json').write_text(header)
    with pytest.raises(ValueError, match=r'StoredTeacherHook: path=.*, expected'):
        LogitStore(str(tmp_path), HEADER)
    empty = tmp_path / 'empty'
    empty.mkdir()
    full(empty)


def test_where_no_folder_can_be_made_an_error_says_so(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='file'):
        LogitStore(str(tmp_path / 'file' / 'store'), HEADER)

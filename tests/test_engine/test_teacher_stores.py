"""A store of something else is refused; one that is damaged or not writable stops no training."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, TRANSFORMS
from mmpretrain.models import LinearClsHead
from mmpretrain.registry import DATASETS, MODELS

from skd_mmrazor.datasets import Digits
from skd_mmrazor.datasets.logit_store import LogitStore

from ..conftest import ROOT
from .frozen_teachers import DATA
from .runs import difference, student, teacher, weights
from .stored_teachers import CROP, FLIP, build, data, get_log, get_store, model, run


@DATASETS.register_module(force=True)
class Brightened(Digits):
    """Has a setting that its list of samples does not show."""

    def __init__(self, gain, **arguments):
        super().__init__(**arguments)
        self.gain = gain


@MODELS.register_module(force=True)
class ScaledHead(LinearClsHead):
    """Has a setting that is no part of its representation."""

    def __init__(self, scale, **arguments):
        super().__init__(**arguments)
        self.scale = scale


def brightened(gain):
    found = data()
    found['dataset'].update(type='mmpretrain.Brightened', gain=gain)
    return found


def scaled(scale):
    cfg = teacher()
    cfg['head'].update(type='mmpretrain.ScaledHead', scale=scale)
    return cfg


# A store is refused where anything that its logits depend on is another.
OTHERS = {
    'teacher': (dict(randomness=dict(seed=1)), "whose teacher is '"),
    'pipeline': (dict(train_dataloader=data([FLIP])), r'whose pipeline is \[.*RandomFlip'),
    'crop': (
        dict(train_dataloader=data([dict(CROP, padding=2), FLIP])),
        r'whose pipeline\[0\].padding is 2 and not 1',
    ),
    'images': (dict(train_dataloader=data(size=24)), 'whose samples is 24 and not 32'),
    'others of the images': (
        dict(train_dataloader=data(size=list(range(1, 33)))),
        "whose images_below_data_root is '",
    ),
    'normalisation': (
        dict(model=model(data_preprocessor=dict(DATA, mean=[70.0]))),
        r'whose data_preprocessor.mean\[0\].* is 70.0 and not 78.4',
    ),
    'normalisation of the teacher': (
        dict(model=model(teacher=dict(teacher(), data_preprocessor=dict(DATA, mean=[70.0])))),
        'whose teacher_normalization is .*70.0.* and not None',
    ),
    'settings of the data set': (
        dict(train_dataloader=brightened(0.9)),
        'whose dataset.gain is 0.9 and not None',
    ),
    'mode': (dict(hook=dict(eval_mode=True)), 'whose eval_mode is True and not False'),
    'seed': (dict(hook=dict(seed=1)), 'whose seed is 1 and not 0'),
    'dtype': (dict(hook=dict(dtype='float16')), "whose dtype is 'float16' and not 'float32'"),
    'top_k': (dict(hook=dict(top_k=2)), 'whose top_k is 2 and not None'),
}


@pytest.fixture(scope='module')
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stored')
    run(folder / 'run', folder / 'store', epochs=1)
    return folder / 'store'


@pytest.mark.parametrize('other', OTHERS)
def test_a_store_of_something_else_is_refused_by_name(tmp_path, stored, other):
    settings, message = OTHERS[other]
    with pytest.raises(ValueError, match=f'StoredTeacherHook: path=.*{message}'):
        run(tmp_path, stored, **settings)


def test_rows_that_the_teacher_did_not_say_are_refused(tmp_path, stored):
    """For example after the images or the code of the teacher were changed."""
    path = shutil.copytree(stored, tmp_path / 'store')
    runner = run(tmp_path / 'a', path, epochs=1)
    assert runner.watch.images == 0
    store = get_store(runner)
    logits = store.read(0, range(32))[0]
    store.write(0, range(32), store.encode(logits[::-1].copy()))
    with pytest.raises(ValueError, match=r"the teacher's logits, to 0.01 .* differ by"):
        run(tmp_path / 'b', path, epochs=1)


def test_teachers_that_normalize_otherwise_have_stores_of_their_own(tmp_path):
    """Even where the logits differ by less than rounding on another computer."""

    def normalized(mean):
        return model(teacher=dict(teacher(), data_preprocessor=dict(DATA, mean=[mean])))

    writer, reader = (
        run(tmp_path / d, tmp_path / 'store', epochs=1, model=normalized(70.0)) for d in 'ab'
    )
    assert (writer.watch.images, reader.watch.images) == (32, 0)
    with pytest.raises(ValueError, match=r'whose teacher_normalization\[0\].* is 70.25 and not 70'):
        run(tmp_path / 'c', tmp_path / 'store', epochs=1, model=normalized(70.25))


def test_a_teacher_is_known_by_settings_that_its_representation_does_not_show(tmp_path):
    runs = (tmp_path / 'run', tmp_path / 'store', 1)
    run(*runs, model=model(teacher=scaled(1.0)))
    with pytest.raises(ValueError, match=r'teacher_settings.head.scale is 2.0 and not 1.0'):
        run(*runs, model=model(teacher=scaled(2.0)))


def test_what_changes_no_logit_is_no_part_of_the_key(tmp_path):
    cfg = teacher()
    cfg['backbone'].update(with_cp=True, frozen_stages=1, norm_eval=True)
    cfg['head'].update(topk=(1, 5), loss=dict(type='CrossEntropyLoss', loss_weight=0.5))
    run(tmp_path / 'a', tmp_path / 'store', 1)
    assert run(tmp_path / 'b', tmp_path / 'store', 1, model=model(teacher=cfg)).watch.images == 0


def test_an_offloaded_teacher_may_have_another_layout(tmp_path):
    """``ChannelsLastHook`` beside it; a sum in another order is rounded in another way."""
    settings = dict(
        hook=dict(offload=True),
        hooks=[dict(type='mmrazor.ChannelsLastHook')],
        model=model(architecture=student(8)),
    )
    assert run(tmp_path / 'a', tmp_path / 'store', **settings).watch.images == 64
    assert run(tmp_path / 'b', tmp_path / 'store', **settings).watch.images == 0


def test_a_refusal_is_no_page(tmp_path):
    one, other = (
        dict(samples=1, classes=2, dtype='float32', top_k=None, names=['x' * n] * 100)
        for n in (9, 8)
    )
    LogitStore(str(tmp_path / 'store'), one)
    with pytest.raises(ValueError, match='whose names') as found:
        LogitStore(str(tmp_path / 'store'), dict(other, names=other['names'][:99]))
    assert len(str(found.value)) < 700


def test_a_view_that_cannot_be_read_is_computed(tmp_path, stored):
    path = shutil.copytree(stored, tmp_path / 'store')
    (path / 'view_0001.rows').mkdir()
    runner = run(tmp_path / 'run', path, log_level='WARNING')
    assert runner.watch.images == 32
    assert get_log(runner).count('stores no more') == 1


RESIZE = dict(type='RandomResize', scale=(8, 8), ratio_range=(0.5, 1.0))


@TRANSFORMS.register_module(force=True)
class Fill:
    """Its attribute is not equal to itself."""

    fill = property(lambda self: self.value)

    def __init__(self):
        self.value = float('nan')

    def __call__(self, results):
        return results


def test_a_store_is_its_own_after_its_images_were_used(tmp_path):
    """Some transforms keep what they drew last."""
    pipeline = [RESIZE, dict(type='Resize', scale=(8, 8)), dict(type='mmengine.Fill')]
    settings = dict(train_dataloader=data(pipeline), epochs=1)
    used = build(tmp_path / 'a', tmp_path / 'store', **settings)
    used.train_dataloader.dataset[0]
    used.train()
    again = run(tmp_path / 'b', tmp_path / 'store', **settings)
    assert (used.watch.images, again.watch.images) == (32, 0)
    again.train_loop._max_epochs = 2
    again.train()
    assert get_store(again).get_stored(1).all()


@pytest.mark.parametrize('make', [Path.mkdir, lambda path: path.symlink_to(path.parent / 'other')])
def test_an_empty_folder_may_be_there(tmp_path, make):
    (tmp_path / 'other').mkdir()
    make(tmp_path / 'store')
    run(tmp_path / 'run', tmp_path / 'store', epochs=1)
    assert (tmp_path / 'store' / 'view_0000.rows').exists()


def test_a_path_may_be_at_home_or_here(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    run(tmp_path / 'a', '~/store', epochs=1)
    monkeypatch.chdir(tmp_path / 'store')
    assert run(tmp_path / 'b', '.', epochs=1).watch.images == 0


def test_a_full_disk_ends_storing_and_not_the_training(tmp_path, monkeypatch):
    whole = run(tmp_path / 'a', tmp_path / 'store')
    shutil.copytree(tmp_path / 'store', tmp_path / 'full')
    for view in (0, 1):
        file = tmp_path / f'full/view_000{view}.rows'
        file.unlink()
        file.symlink_to('/dev/full')
    runner = build(tmp_path / 'b', tmp_path / 'full', log_level='WARNING')
    tries, write = [], LogitStore.write
    monkeypatch.setattr(LogitStore, 'write', lambda *a: tries.append(a) or write(*a))
    runner.train()
    assert runner.watch.images == 64
    assert len(tries) == 1, 'it goes on trying'
    assert difference(weights(runner.model), weights(whole.model)) == 0
    log = get_log(runner)
    assert log.count('stores no more') == 1
    assert 'No space left on device' in log


@HOOKS.register_module(force=True)
class WaitForTheKill(Hook):
    """Keeps a training from storing more than a number of epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def after_train_epoch(self, runner):
        if runner.epoch + 1 == self.epochs:
            time.sleep(600)


@pytest.mark.nightly
def test_a_training_that_is_killed_leaves_a_store_that_is_right(tmp_path):
    """At any moment from its first row on; the quick test kills a process that only writes."""
    whole = run(tmp_path / 'whole', tmp_path / 'whole_store', epochs=20)
    code = (
        f'import sys; from {__name__} import run; wait = dict('
        "type='mmengine.WaitForTheKill', epochs=int(sys.argv[3])); "
        'run(*sys.argv[1:3], epochs=20, hooks=[wait])'
    )
    choose = np.random.default_rng()
    store = tmp_path / 'store'
    for kill in range(5):
        known = sorted(store.glob('*.rows'))
        arguments = [tmp_path / str(kill), store, 3 * (kill + 1)]
        command = [sys.executable, '-W', 'ignore', '-c', code, *arguments]
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
        while sorted(store.glob('*.rows')) == known:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(choose.uniform(0, 0.2))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    runner = run(tmp_path / 'last', store, epochs=20)
    # At most 15 epochs were stored; the second kill waited for all of the first one.
    assert 5 * 32 <= runner.watch.images < 20 * 32
    assert difference(weights(runner.model), weights(whole.model)) < 1e-4
    for view in range(20):
        (ours, stored), (theirs, _) = (get_store(r).read(view, range(32)) for r in (runner, whole))
        assert stored.all()
        assert np.abs(ours - theirs).max() < 1e-5 * np.abs(theirs).max()


@pytest.fixture
def as_another_user():
    """Runs as a user other than root, who may ignore file modes; gives a shared folder."""
    parents = Path(sys.prefix).resolve().parents
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in parents):
        pytest.skip('root has this environment for itself')
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_a_read_only_store_is_read(stored, as_another_user):
    """The first view is there; the second is computed, and cannot be added."""
    euid, path = os.geteuid(), as_another_user / 'store'
    os.seteuid(os.getuid())
    shutil.copytree(stored, path)
    for item in (*path.iterdir(), path):
        item.chmod(0o555 if item.is_dir() else 0o444)
    os.seteuid(euid)
    runner = run(as_another_user / 'run', path, log_level='WARNING')
    assert runner.watch.images == 32
    assert get_log(runner).count('stores no more') == 1
    assert sorted(file.name for file in path.iterdir()) == ['header.json', 'view_0000.rows']

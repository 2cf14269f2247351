import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import FUNCTIONS, OPTIM_WRAPPERS, TRANSFORMS
from mmengine.runner import Runner
from mmpretrain.models import ClsDataPreprocessor, LinearClsHead
from mmpretrain.registry import MODELS

from skd_mmrazor.engine import StoredTeacherHook

from ..conftest import ROOT, algorithm, distiller, run_python
from ..digits_runs import KD, assert_same_state, digits, load
from ..digits_runs import resume as resume_digits
from ..digits_runs import train as train_digits
from .runs import KL, difference, loader, logged, run_config, student, teacher, weights
from .test_frozen_teacher_hook import DATA, teacher_with_dropout

CROP = dict(type='RandomCrop', crop_size=8, padding=1)
FLIP = dict(type='RandomFlip', prob=0.5, direction='horizontal')
PACK = dict(type='PackInputs')
LOSSES = {
    'skd_kd': (KL, True),
    'kd': (KL, False),
    'skd_dkd': (dict(loss_dkd=dict(type='DKDLoss', tau=4)), True),
    'skd_dist': (dict(loss_dist=dict(type='DISTLoss', tau=2)), True),
    'skd_wsld': (dict(loss_wsld=dict(type='WSLD', tau=2, num_classes=10)), True),
}


STORE = dict(type='mmrazor.StoreTeacherLoop', max_epochs=2)


class Watch(Hook):
    """Counts the images that the teacher is run on, and keeps their logits."""

    def before_train(self, runner):
        self.images, self.logits, self.samples = 0, {}, None
        if hasattr(runner.model, 'teacher'):
            runner.model.teacher.head.fc.register_forward_hook(self.keep)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.samples = data_batch['data_samples']

    def keep(self, module, inputs, logits):
        if self.samples is not None:
            self.images += len(logits)
            if len(logits) == len(self.samples):
                keys = [(s.augmentation_view, s.sample_idx) for s in self.samples]
                self.logits.update(zip(keys, logits.detach().clone(), strict=True))

    def after_train_epoch(self, runner):
        self.samples = None


def model(losses=KL, skd=True, teacher_recorders=(), deliveries=None, **arguments):
    cfg = distiller(losses, skd)
    cfg['teacher_recorders'].update(teacher_recorders)
    cfg['distill_deliveries'] = deliveries
    arguments = dict(dict(architecture=student(), teacher=teacher()), **arguments)
    return algorithm(cfg, **dict(dict(data_preprocessor=DATA), **arguments))


def data(pipeline=(CROP, FLIP), size=32, **settings):
    found = loader('train', size, 8)
    found['dataset']['pipeline'] = [*pipeline, PACK]
    found['sampler']['shuffle'] = True
    return dict(found, **settings)


def build(work_dir, path, epochs=2, hook=(), hooks=(), **settings):
    hook = dict(type='mmrazor.StoredTeacherHook', path=str(path), **dict(hook))
    settings = {
        'model': model(),
        'train_dataloader': data(),
        'train_cfg': dict(by_epoch=True, max_epochs=epochs),
        # The teacher is of this seed; a student of another has to be built so.
        'randomness': dict(seed=0),
        # In whichever order a config has them.
        'custom_hooks': [hook, *hooks],
        **settings,
    }
    runner = Runner.from_cfg(run_config(work_dir, **settings))
    runner.watch = Watch()
    runner.register_hook(runner.watch, 'VERY_HIGH')
    return runner


def run(*arguments, **settings):
    runner = build(*arguments, **settings)
    runner.train()
    return runner


def get_store(runner):
    return next(h for h in runner.hooks if isinstance(h, StoredTeacherHook)).store


def get_log(runner):
    (log,) = Path(runner.log_dir).glob('*.log')
    return log.read_text()


@pytest.mark.parametrize('method', LOSSES)
def test_a_run_that_reads_trains_the_student_of_the_run_that_wrote(tmp_path, method):
    settings = dict(model=model(*LOSSES[method]))
    writer = run(tmp_path / 'a', tmp_path / 'store', **settings)
    reader = run(tmp_path / 'b', tmp_path / 'store', **settings)
    assert (writer.watch.images, reader.watch.images) == (64, 0)
    assert difference(weights(reader.model), weights(writer.model)) == 0
    assert logged(reader, 'loss') == logged(writer, 'loss')


def test_rows_are_what_the_live_teacher_said_bitwise(tmp_path):
    runner = run(tmp_path / 'a', tmp_path / 'store')
    store = get_store(runner)
    assert len(runner.watch.logits) == 64
    for (view, index), logits in runner.watch.logits.items():
        found, stored = store.read(view, [index])
        assert stored.all()
        assert np.array_equal(found[0], logits.numpy())


def test_without_augmentation_the_student_is_that_of_the_live_teacher(tmp_path):
    settings = dict(train_dataloader=data(pipeline=()))
    stored = run(tmp_path / 'a', tmp_path / 'store', hook=dict(views=1), **settings)
    live = Runner.from_cfg(
        run_config(
            tmp_path / 'b',
            model=model(),
            train_cfg=dict(by_epoch=True, max_epochs=2),
            **settings,
        )
    )
    live.train()
    # Of the second epoch, which was read, batches of other images computed the rows.
    assert stored.watch.images == 32
    assert difference(weights(stored.model), weights(live.model)) < 1e-5


@pytest.mark.parametrize(
    'hook',
    [dict(dtype='float16'), dict(top_k=3), dict(top_k=3, dtype='float16', views=1)],
    ids=lambda hook: '-'.join(map(str, hook.values())),
)
def test_compact_stores_give_the_reader_what_they_gave_the_writer(tmp_path, hook):
    writer, reader = (run(tmp_path / d, tmp_path / 'store', hook=hook) for d in 'ab')
    assert reader.watch.images == 0
    assert writer.watch.images == (32 if 'views' in hook else 64)
    assert difference(weights(reader.model), weights(writer.model)) == 0
    exact = run(tmp_path / 'c', tmp_path / 'exact')
    assert 0 < difference(weights(exact.model), weights(writer.model)) < 0.5


def test_a_run_reads_what_is_there_and_adds_the_rest(tmp_path):
    whole = run(tmp_path / 'a', tmp_path / 'store')
    part = tmp_path / 'part'
    shutil.copytree(tmp_path / 'store', part)
    (part / 'view_0001.rows').unlink()
    rows = part / 'view_0000.rows'
    size = get_store(whole).dtype.itemsize
    rows.write_bytes(rows.read_bytes()[: 20 * size])
    runner = run(tmp_path / 'b', part, log_level='INFO')
    assert runner.watch.images == 32 + 12
    assert get_store(runner).get_stored(0).all()
    assert get_store(runner).get_stored(1).all()
    # The teacher rounds otherwise where it has fewer images in a batch.
    assert difference(weights(runner.model), weights(whole.model)) < 1e-5
    assert 'read 20 of 32 rows' in get_log(runner)
    # In a training that goes on, too.
    runner.train_loop._max_epochs = 3
    runner.train()
    assert get_store(runner).get_stored(2).all()


def test_another_student_order_and_loss_share_the_store(tmp_path):
    weights_file = tmp_path / 'teacher.pth'
    first = build(tmp_path / 'a', tmp_path / 'store')
    torch.save(first.model.teacher.state_dict(), weights_file)
    settings = dict(model=model(teacher_ckpt=str(weights_file)))
    run(tmp_path / 'b', tmp_path / 'store', **settings)
    settings['model'] = model(
        *LOSSES['skd_dkd'], teacher_ckpt=str(weights_file), architecture=student(3)
    )
    for seed, workers in ((1, 0), (2, 1)):
        other = run(
            tmp_path / str(seed),
            tmp_path / 'store',
            randomness=dict(seed=seed),
            train_dataloader=data(num_workers=workers, batch_size=5),
            **settings,
        )
        assert other.watch.images == 0


def test_a_resumed_run_reads_the_rows_of_its_epoch(tmp_path):
    path = str(tmp_path / 'store')
    hooks = [
        dict(type='mmrazor.EpochSeedHook'),
        dict(type='mmrazor.StoredTeacherHook', path=path, seed=5),
    ]
    train_digits(tmp_path / 'whole', custom_hooks=hooks)
    for file in Path(path).glob('*.rows'):
        # Read-only, as it were: nothing may be computed.
        assert file.stat().st_size == 96 * 44
    resume_digits(tmp_path / 'parts', tmp_path / 'whole/epoch_1.pth', custom_hooks=hooks)
    assert_same_state(load(tmp_path / 'whole', 2), load(tmp_path / 'parts', 2))
    (log,) = (tmp_path / 'parts').glob('*/*.log')
    assert log.read_text().count('read 96 of 96 rows') == 1


VALIDATION = dict(
    val_dataloader=loader('val', 16, 8),
    val_evaluator=dict(type='Accuracy', topk=(1,)),
    val_cfg=dict(type='mmrazor.FrozenTeacherValLoop'),
)


def test_validation_and_checkpoints_have_the_teacher_itself(tmp_path):
    found = []
    for name in 'ab':
        settings = dict(VALIDATION, train_cfg=dict(by_epoch=True, max_epochs=2, val_interval=1))
        runner = run(tmp_path / name, tmp_path / 'store', **settings)
        found.append(logged(runner, 'teacher.accuracy/top1'))
        assert 'forward' not in vars(runner.model.teacher)
        assert 'augmentation_view' not in runner.train_dataloader.dataset[0]['data_samples']
    assert found[0] == found[1]
    assert len(found[0]) == 2
    live = run_config(tmp_path / 'c', model=model(), train_dataloader=data(), **VALIDATION)
    live.train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
    live = Runner.from_cfg(live)
    live.train()
    assert logged(live, 'teacher.accuracy/top1') == found[0][:1]


def test_it_stores_what_a_frozen_teacher_hook_makes(tmp_path):
    hooks = [dict(type='mmrazor.FrozenTeacherHook', channels_last=True)]
    writer, reader = (
        run(tmp_path / d, tmp_path / 'store', hooks=hooks, log_level='INFO') for d in 'ab'
    )
    assert get_log(writer).count('read 0 of 32 rows') == 2
    assert get_log(reader).count('read 32 of 32 rows') == 2
    # The original, which is not run.
    assert writer.watch.images == 0
    assert difference(weights(reader.model), weights(writer.model)) == 0
    half = [dict(type='mmrazor.FrozenTeacherHook', dtype='bfloat16')]
    with pytest.raises(ValueError, match="whose precision is 'bfloat16' and not 'float32'"):
        run(tmp_path / 'c', tmp_path / 'store', hooks=half)


@OPTIM_WRAPPERS.register_module(force=True)
class AutocastOnCPU(OptimWrapper):
    """What mmengine's has for GPUs alone."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield


def test_autocast_gives_the_losses_the_type_that_the_teacher_has(tmp_path):
    amp = dict(type='mmengine.AutocastOnCPU', optimizer=dict(type='SGD', lr=0.1))
    writer, reader = (run(tmp_path / d, tmp_path / 'store', optim_wrapper=amp) for d in 'ab')
    assert reader.watch.images == 0
    assert next(iter(writer.watch.logits.values())).dtype is torch.bfloat16
    assert difference(weights(reader.model), weights(writer.model)) == 0
    with pytest.raises(ValueError, match="whose precision is 'float32' and not 'bfloat16'"):
        run(tmp_path / 'c', tmp_path / 'store')
    store = get_store(writer)
    for view in range(2):
        logits = store.read(view, range(32))[0]
        store.write(view, range(32), store.encode(logits[::-1].copy()))
    with pytest.raises(ValueError, match=r"the teacher's logits, to 0.1 .* differ by"):
        run(tmp_path / 'd', tmp_path / 'store', optim_wrapper=amp)


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


def test_dropout_is_switched_off_by_eval_mode(tmp_path):
    settings = dict(model=model(teacher=teacher_with_dropout()), hook=dict(eval_mode=True))
    writer, reader = (run(tmp_path / d, tmp_path / 'store', **settings) for d in 'ab')
    assert (writer.watch.images, reader.watch.images) == (64, 0)
    assert difference(weights(reader.model), weights(writer.model)) == 0


def in_memory(**settings):
    found = data(**settings)
    dataset = dict(type='InMemoryDataset', device='cpu', dataset=found['dataset'])
    collate = dict(type='torch.utils.data.default_convert')
    return dict(found, dataset=dataset, collate_fn=collate)


def test_batches_in_memory_are_stored_too(tmp_path):
    settings = dict(train_dataloader=in_memory())
    writer, reader = (run(tmp_path / d, tmp_path / 'store', **settings) for d in 'ab')
    assert (writer.watch.images, reader.watch.images) == (64, 0)
    assert difference(weights(reader.model), weights(writer.model)) == 0
    with pytest.raises(ValueError, match='whose in_memory is False and not True'):
        run(tmp_path / 'c', tmp_path / 'store')


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
        "whose dataset.hash is '",
    ),
    'normalisation': (
        dict(model=model(data_preprocessor=dict(DATA, mean=[70.0]))),
        r'whose data_preprocessor.mean\[0\].* is 70.0 and not 78.4',
    ),
    'normalisation of the teacher': (
        dict(model=model(teacher=dict(teacher(), data_preprocessor=dict(DATA, mean=[70.0])))),
        'whose teacher_normalization is .*70.0.* and not None',
    ),
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


def test_a_view_that_cannot_be_read_is_computed(tmp_path, stored):
    path = shutil.copytree(stored, tmp_path / 'store')
    (path / 'view_0001.rows').mkdir()
    runner = run(tmp_path / 'run', path, log_level='WARNING')
    assert runner.watch.images == 32
    assert get_log(runner).count('stores no more') == 1


def test_a_full_disk_ends_storing_and_not_the_training(tmp_path):
    whole = run(tmp_path / 'a', tmp_path / 'store')
    shutil.copytree(tmp_path / 'store', tmp_path / 'full')
    for view in (0, 1):
        file = tmp_path / f'full/view_000{view}.rows'
        file.unlink()
        file.symlink_to('/dev/full')
    runner = run(tmp_path / 'b', tmp_path / 'full', log_level='WARNING')
    assert runner.watch.images == 64
    assert difference(weights(runner.model), weights(whole.model)) == 0
    log = get_log(runner)
    assert log.count('stores no more') == 1
    assert 'No space left on device' in log


@pytest.mark.nightly
def test_a_training_that_is_killed_leaves_a_store_that_is_right(tmp_path):
    """At any moment from its first row on; the quick test kills a process that only writes."""
    whole = run(tmp_path / 'whole', tmp_path / 'whole_store', epochs=20)
    code = f'import sys; from {__name__} import run; run(*sys.argv[1:], epochs=20)'
    choose = np.random.default_rng()
    store = tmp_path / 'store'
    for kill in range(5):
        known = sorted(store.glob('*.rows'))
        command = [sys.executable, '-W', 'ignore', '-c', code, tmp_path / str(kill), store]
        process = subprocess.Popen(list(map(str, command)), cwd=ROOT)
        while sorted(store.glob('*.rows')) == known:
            assert process.poll() is None
            time.sleep(0.001)
        time.sleep(choose.uniform(0, 0.2))
        process.kill()
        process.wait()
    runner = run(tmp_path / 'last', store, epochs=20)
    assert 0 < runner.watch.images < 20 * 32
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


@TRANSFORMS.register_module(force=True)
class DrawElsewhere:
    """Draws from a generator of its own, which the hook cannot seed."""

    generator = np.random.default_rng()

    def __call__(self, results):
        return dict(results, img=results['img'] // self.generator.integers(1, 200))


@TRANSFORMS.register_module(force=True)
class DrawSeldom(DrawElsewhere):
    """As an augmentation of few images may do."""

    def __call__(self, results):
        return super().__call__(results) if results['sample_idx'] == 50 else results


@MODELS.register_module(force=True)
class DrawingHead(LinearClsHead):
    """Drops out by other random numbers than torch's, or in evaluation mode too."""

    def __init__(self, draw, **arguments):
        super().__init__(**arguments)
        self.draw = dict(
            python=lambda x: x * random.uniform(0.5, 1.5),
            numpy=lambda x: x * np.random.uniform(0.5, 1.5),
            always=lambda x: torch.dropout(x, 0.5, True),
            nan=lambda x: x / 0 * 0,
        )[draw]

    def pre_logits(self, feats):
        return self.draw(super().pre_logits(feats))


@MODELS.register_module(force=True)
class DrawingPreprocessor(ClsDataPreprocessor):
    """Changes the brightness of a batch in training, as mmdet's changes its size."""

    def forward(self, data, training=False):
        data = super().forward(data, training)
        return dict(data, inputs=data['inputs'] * random.uniform(0.5, 1.5)) if training else data


@FUNCTIONS.register_module(force=True)
def collate_mixed(batch):
    """Makes each image depend on those that are in its batch."""
    return pseudo_collate(batch)


def drawing(draw):
    cfg = teacher()
    cfg['head'].update(type='mmpretrain.DrawingHead', draw=draw)
    return model(teacher=cfg)


FEATURES = dict(stage=dict(type='ModuleOutputs', source='backbone.layer1'))
POOLED = dict(pooled=dict(type='ModuleOutputs', source='neck.gap'))
LABELS = dict(labels=dict(type='ModuleInputs', source='head.loss_module'))
MIXUP = dict(augments=dict(type='Mixup', alpha=0.8))
REPEATED = dict(type='RepeatDataset', times=2, dataset=data()['dataset'])
REFUSED = {
    'mixup': (
        dict(model=model(data_preprocessor=dict(DATA, batch_augments=MIXUP))),
        r"data_preprocessor.batch_augments=\['Mixup'\], expected none",
    ),
    'trainable': (
        dict(model=model(teacher_trainable=True)),
        'model.teacher_trainable=True, expected False',
    ),
    'norms': (
        dict(model=model(teacher_norm_eval=False)),
        'model.teacher_norm_eval=False, expected True',
    ),
    'dropout': (
        dict(model=model(teacher=teacher_with_dropout())),
        'eval_mode=False, expected True',
    ),
    'dropout by Python': (dict(model=drawing('python')), 'eval_mode=False, expected True'),
    'dropout by NumPy': (dict(model=drawing('numpy')), 'eval_mode=False, expected True'),
    'dropout in evaluation mode': (
        dict(model=drawing('always'), hook=dict(eval_mode=True)),
        'eval_mode=True, expected a teacher that draws no random numbers in evaluation mode',
    ),
    'broken weights': (
        dict(model=drawing('nan')),
        "records of the teacher='NaN or Inf', expected finite numbers",
    ),
    'features': (
        dict(model=model(teacher_recorders=FEATURES)),
        r"distiller.teacher_recorders.stage=\[.*\], expected the teacher's logits, .*alone",
    ),
    'pooled': (dict(model=model(teacher_recorders=POOLED)), 'distiller.teacher_recorders.pooled='),
    'labels': (dict(model=model(teacher_recorders=LABELS)), 'distiller.teacher_recorders.labels='),
    'draws': (
        dict(train_dataloader=data([dict(type='mmengine.DrawElsewhere')])),
        'train_dataloader.dataset.pipeline=.*, expected that Python, NumPy and torch draw all',
    ),
    'draws seldom': (
        dict(train_dataloader=data([dict(type='mmengine.DrawSeldom')], size=64)),
        'train_dataloader.dataset.pipeline=.*, expected that Python, NumPy and torch draw all',
    ),
    'draws for a batch': (
        dict(model=model(data_preprocessor=dict(DATA, type='mmpretrain.DrawingPreprocessor'))),
        'data_preprocessor=.different outputs for one batch., expected that it draws no random',
    ),
    'collated otherwise': (
        dict(train_dataloader=data(collate_fn=dict(type='collate_mixed'))),
        "train_dataloader.collate_fn='collate_mixed', expected 'pseudo_collate', 'default_collate'",
    ),
    'two stores': (
        dict(hooks=[dict(type='mmrazor.StoredTeacherHook', path='other')]),
        r"custom_hooks: path of each StoredTeacherHook=\[.*, 'other'\], expected one",
    ),
    'wrapper': (
        dict(train_dataloader=data(dataset=REPEATED)),
        "train_dataloader.dataset.type='RepeatDataset', expected a BaseDataset",
    ),
    'repeats': (
        dict(train_dataloader=data(sampler=dict(type='RepeatAugSampler', num_repeats=3))),
        "train_dataloader.sampler.type='RepeatAugSampler', expected 'DefaultSampler'",
    ),
    'iterations': (
        dict(train_cfg=dict(by_epoch=False, max_iters=4)),
        'StoredTeacherHook: train_cfg.by_epoch=False, expected True',
    ),
    'top_k': (dict(hook=dict(top_k=10)), 'top_k=10, expected less than the 10 classes'),
    'algorithm': (
        dict(model=dict(student(), data_preprocessor=DATA)),
        "model.type='ImageClassifier', expected 'SingleTeacherDistill'",
    ),
}


@pytest.mark.parametrize('reason', REFUSED)
def test_what_the_logits_may_depend_on_is_refused(tmp_path, reason):
    settings, message = REFUSED[reason]
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {message}|^{message}'):
        run(tmp_path / 'run', tmp_path / 'store', **settings)
    assert not (tmp_path / 'store').exists()


class Change(Hook):
    def __init__(self, change):
        self.change = change

    def after_train_epoch(self, runner):
        self.change(runner)


def add_to_teacher(runner):
    next(runner.model.teacher.parameters()).data.add_(1)


def change_pipeline(runner):
    dataset = runner.train_dataloader.dataset
    dataset.pipeline = dataset.pipeline.pipeline


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (add_to_teacher, "weights of the teacher in epoch 2='others'"),
        (change_pipeline, "train_dataloader.dataset.pipeline='another'"),
    ],
)
def test_what_changes_in_training_ends_it(tmp_path, change, message):
    runner = build(tmp_path / 'run', tmp_path / 'store')
    runner.register_hook(Change(change))
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {message}'):
        runner.train()


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('path', ''),
        ('dtype', 'bfloat16'),
        ('top_k', 0),
        ('views', 1.5),
        ('seed', -1),
        ('eval_mode', 1),
        ('offload', 'yes'),
    ],
)
def test_bad_arguments_are_named(key, value):
    with pytest.raises(ValueError, match=f'StoredTeacherHook: {key}={value!r}, expected'):
        StoredTeacherHook(**{'path': 'store', key: value})


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match=r'StoredTeacherHook: path=.*file/store.*can be made'):
        run(tmp_path / 'run', tmp_path / 'file' / 'store')


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

"""A student that reads the teacher's logits is the student of the run that stored them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from ..digits_runs import assert_same_state, load
from ..digits_runs import resume as resume_digits
from ..digits_runs import train as train_digits
from .frozen_teachers import teacher_with_dropout
from .runs import difference, logged, run_config, student, weights
from .stored_teachers import LOSSES, VALIDATION, build, data, get_log, get_store, model, run


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


def test_dropout_is_switched_off_by_eval_mode(tmp_path):
    settings = dict(model=model(teacher=teacher_with_dropout()), hook=dict(eval_mode=True))
    writer, reader = (run(tmp_path / d, tmp_path / 'store', **settings) for d in 'ab')
    assert (writer.watch.images, reader.watch.images) == (64, 0)
    assert difference(weights(reader.model), weights(writer.model)) == 0


def in_memory(**settings):
    found = data(**settings)
    dataset = dict(type='skd_mmrazor.InMemoryDataset', device='cpu', dataset=found['dataset'])
    collate = dict(type='torch.utils.data.default_convert')
    return dict(found, dataset=dataset, collate_fn=collate)


def test_batches_in_memory_are_stored_too(tmp_path):
    settings = dict(train_dataloader=in_memory())
    writer, reader = (run(tmp_path / d, tmp_path / 'store', **settings) for d in 'ab')
    assert (writer.watch.images, reader.watch.images) == (64, 0)
    assert difference(weights(reader.model), weights(writer.model)) == 0
    with pytest.raises(ValueError, match='whose in_memory is False and not True'):
        run(tmp_path / 'c', tmp_path / 'store')

import itertools
import random
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS
from mmengine.runner import Runner

from skd_mmrazor.engine import EpochSeedHook

from ..digits_runs import assert_same_state, digits, load, resume, train


@pytest.mark.parametrize('randomness', [{}, dict(diff_rank_seed=True)], ids=str)
def test_a_run_without_a_seed_resumes_bitwise(tmp_path, randomness):
    """The seed that mmengine drew, and the sampler's, come with the checkpoint."""
    options = dict(randomness=dict(seed=None, **randomness))
    train(tmp_path / 'whole', **options)
    resume(tmp_path / 'parts', tmp_path / 'whole/epoch_1.pth', **options)
    assert_same_state(load(tmp_path / 'whole', 2), load(tmp_path / 'parts', 2))


def test_without_the_hook_a_resumed_run_draws_other_numbers(tmp_path):
    """Shows the need for the hook; fails once mmengine no longer needs it."""
    options = dict(custom_hooks=[], randomness=dict(seed=1))
    train(tmp_path / 'whole', **options)
    resume(tmp_path / 'parts', tmp_path / 'whole/epoch_1.pth', **options)
    with pytest.raises(AssertionError):
        assert_same_state(load(tmp_path / 'whole', 2), load(tmp_path / 'parts', 2))


class RecordImages(Hook):
    def __init__(self):
        self.epochs = []

    def before_train_epoch(self, runner):
        self.epochs.append([])

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.epochs[-1].extend(image.clone() for image in data_batch['inputs'])


def images_by_epoch(work_dir, num_workers, persistent, **options):
    """Epochs x images, in the order of the data set."""
    options = {
        'train_dataloader.sampler.shuffle': False,
        'train_dataloader.num_workers': num_workers,
        'train_dataloader.persistent_workers': persistent,
        'randomness.diff_rank_seed': False,
        **options,
    }
    runner = Runner.from_cfg(digits(work_dir, **options))
    record = RecordImages()
    runner.register_hook(record)
    runner.train()
    # Persistent workers would make the garbage collector wait for 10 seconds.
    runner.train_dataloader._iterator = None
    return [torch.stack(images) for images in record.epochs]


@pytest.mark.parametrize(
    ('num_workers', 'persistent'), [(0, False), (2, False), (2, True)], ids=str
)
def test_augmentations_differ_from_epoch_to_epoch_and_from_seed_to_seed(
    tmp_path, num_workers, persistent
):
    first, second = images_by_epoch(tmp_path / 'a', num_workers, persistent)
    # Two random flips of one image agree half the time.
    assert (first != second).flatten(1).any(1).float().mean() > 0.5
    again = images_by_epoch(tmp_path / 'b', num_workers, False)
    assert torch.equal(torch.stack([first, second]), torch.stack(again)), 'if workers live on, too'
    (other,) = images_by_epoch(
        *(tmp_path / 'c', num_workers, persistent),
        **{'randomness.seed': 7, 'train_cfg.max_epochs': 1},
    )
    assert (first != other).flatten(1).any(1).float().mean() > 0.5, 'of another seed'


@FUNCTIONS.register_module()
def started_by_the_user(worker_id, folder):
    """A ``worker_init_fn`` of a config, which takes no seed."""
    (folder / f'{worker_id}').touch()


def test_workers_that_are_started_in_another_way_still_are(tmp_path):
    start = dict(type='started_by_the_user', folder=tmp_path)
    options = {'train_dataloader.worker_init_fn': start}
    first, second = images_by_epoch(tmp_path / 'run', 1, False, **options)
    assert (first != second).flatten(1).any(1).float().mean() > 0.5
    assert (tmp_path / '0').exists()


def test_mmengine_repeats_the_augmentations_of_its_workers(tmp_path):
    """What the hook is for; fails when mmengine does better itself."""
    first, second = images_by_epoch(tmp_path, 2, False, custom_hooks=[])
    assert torch.equal(first, second)


def test_no_rank_repeats_in_an_epoch_what_another_drew_before():
    """The seeds of ranks differ by one, as the numbers of epochs do."""
    drawn = []
    for seed, epoch in itertools.product(range(3), repeat=2):
        loader = SimpleNamespace(worker_init_fn=None)
        runner = SimpleNamespace(seed=seed, epoch=epoch, train_dataloader=loader)
        EpochSeedHook().before_train_epoch(runner)
        drawn.append(random.random())
    assert len(set(drawn)) == 9

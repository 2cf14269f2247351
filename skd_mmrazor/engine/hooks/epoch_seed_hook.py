"""Random numbers that depend on the seed and the epoch alone."""

from functools import partial

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.runner import Runner, set_random_seed
from mmrazor.registry import HOOKS

from ..utils import get_sampler


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Makes a resumed run draw the random numbers of one that never stopped.

    mmengine seeds once, when the runner is built, and saves no state of a random
    number generator: a resumed run repeats the augmentations of its first
    epochs. The workers of a data loader get the same seeds in every epoch, or,
    with ``persistent_workers=True``, are seeded once. This hook seeds Python, NumPy,
    torch and the workers before each training epoch, from ``runner.seed`` (which
    differs by rank under ``randomness=dict(diff_rank_seed=True)``) and the
    number of the epoch. It saves the sampler's seed in the checkpoint, since the
    sampler of a resumed run is built with a new one.

    So a run that is resumed from the end of an epoch equals the uninterrupted
    run, bitwise where the operators are deterministic, for any number of
    workers. Augmentations differ from epoch to epoch.

    Note:
        Persistent workers are started anew for each epoch, as if
        ``persistent_workers`` were False: there is no other way to reach the
        generators in a running worker.

        An ``IterBasedTrainLoop`` counts as a single epoch: it is seeded once,
        and its resumed run draws other numbers.
    """

    # Before any other hook can draw a number in the epoch.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Gives the sampler the seed that the resumed run had.

        Args:
            runner (Runner): The runner of the training process.
        """
        sampler = get_sampler(runner.train_dataloader)
        if hasattr(sampler, 'seed'):
            # Resuming restores the message hub, loading a checkpoint does not.
            sampler.seed = runner.message_hub.get_info('sampler_seed', sampler.seed)
            runner.message_hub.update_info('sampler_seed', sampler.seed)

    def before_train_epoch(self, runner: Runner) -> None:
        """Seeds this process, and the workers that it is about to start.

        Args:
            runner (Runner): The runner of the training process.
        """
        # Mixed, since mmengine adds the numbers of ranks and workers to the seed:
        # with seed + epoch, worker 1 would have the numbers of worker 0 in the next epoch.
        mixed = np.random.SeedSequence([runner.seed, runner.epoch]).generate_state(1)
        # 31 bits: NumPy takes 32, and the worker's number is added.
        seed = int(mixed[0] >> 1)
        set_random_seed(seed)
        dataloader = runner.train_dataloader
        init_fn = dataloader.worker_init_fn
        # Other functions use torch's own worker seeds, which this process draws.
        if isinstance(init_fn, partial) and init_fn.func is worker_init_fn:
            dataloader.worker_init_fn = partial(init_fn, seed=seed)
        dataloader._iterator = None

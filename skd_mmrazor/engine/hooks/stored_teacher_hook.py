"""A hook that stores the logits of a frozen teacher for later runs."""

import os
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS
from torch import Tensor

from ...datasets.augmentation_seed import (
    VIEW,
    AugmentationSeed,
    seed_augmentation,
    unseed_augmentation,
)
from ...datasets.logit_store import LogitStore
from ...utils import expect, is_integer
from ..offloaded_teacher import OffloadedTeacher
from ..stored_teacher_checks import (
    NAME,
    check_batch_augments,
    check_run,
    check_sizes,
    find_frozen_hook,
)
from ..teacher_probe import TeacherProbe
from ..utils import expect_epochs, get_model, replace_forward, restore_forward


@HOOKS.register_module()
class StoredTeacherHook(Hook):
    """Reads the teacher's logits from disk, and adds those that are missing there.

    A frozen teacher gives the same logits for the same image every time. The first
    run with this hook stores them while it trains; a later run, with any student,
    seed or loss, reads them and does not run the teacher. With the same student, seed
    and loss the two trainings are equal, bit by bit: the losses always receive a row
    of the store, whether it was read or has just been written.

    So that an image can be found again, its augmentation becomes a function of
    ``seed``, the epoch and its number in the data set. The order of the images and
    everything else depends on the seed of the run as before.

    A store belongs to one teacher, pipeline and data set; another's is refused, and
    a few rows are compared with the live teacher at the start of each run.
    ``docs/stored_teacher.md`` has the sizes and errors of the compact forms.

    Args:
        path (str): The folder of the store, created if it does not exist. Several
            processes and runs may share it.
        dtype (str): ``'float32'`` for the exact logits, or ``'float16'`` for half of
            the space. Defaults to ``'float32'``.
        top_k (int, optional): How many logits of each image to keep, the largest ones.
            The probability that is left at temperature 4 is shared evenly by the
            other classes. Defaults to None: keep all.
        views (int, optional): The number of augmented views of each image, over
            which the epochs cycle. Defaults to None: each epoch has its own.
        seed (int): The seed of the augmentation. Defaults to 0.
        eval_mode (bool): Whether to run the teacher in evaluation mode. A teacher
            with dropout or drop path is refused without it. Beside a
            ``FrozenTeacherHook`` that hook's ``eval_mode`` counts. Defaults to False.
        offload (bool): Whether the teacher's weights leave the memory while no image
            needs them, for a file in ``work_dir``. Defaults to False.

    Examples:
        >>> custom_hooks = [dict(type='mmrazor.StoredTeacherHook', path='data/teacher')]
    """

    # After FrozenTeacherHook, whose copy of the teacher is run; and after hooks that
    # change the pipeline or the batch augmentation.
    priority = 'LOW'

    def __init__(
        self,
        path: str,
        dtype: str = 'float32',
        top_k: int | None = None,
        views: int | None = None,
        seed: int = 0,
        eval_mode: bool = False,
        offload: bool = False,
    ) -> None:
        expect(isinstance(path, str) and path != '', f'{NAME}: path', path, 'the path of a folder')
        known = dtype in ('float32', 'float16')
        expect(known, f'{NAME}: dtype', dtype, "'float32' or 'float16'")
        for key, count in (('top_k', top_k), ('views', views)):
            valid = count is None or is_integer(count, 1)
            expect(valid, f'{NAME}: {key}', count, 'None or an integer of at least 1')
        expect(is_integer(seed, 0), f'{NAME}: seed', seed, 'an integer of at least 0')
        for key, switch in (('eval_mode', eval_mode), ('offload', offload)):
            expect(isinstance(switch, bool), f'{NAME}: {key}', switch, 'True or False')
        self.path = os.path.expanduser(path)
        self.dtype, self.top_k, self.views = dtype, top_k, views
        self.eval_mode, self.offload = eval_mode, offload
        self.seed = AugmentationSeed(seed)
        # Rows that were read, and images that the teacher was run on.
        self.read = self.computed = 0
        self._prepared = False
        # The error after which nothing more is stored.
        self.write_error: OSError | None = None

    def before_train(self, runner: Runner) -> None:
        """Opens the store, and makes sure that it belongs to the teacher.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: The logits depend on more than the image, its number and
                the seed, or the store belongs to something else.
        """
        check_run(runner, StoredTeacherHook)
        expect_epochs(runner, self)
        frozen = find_frozen_hook(runner, self)
        dataset = runner.train_dataloader.dataset
        seed_augmentation(dataset, self.seed, f'{NAME}: train_dataloader.dataset')
        eval_mode = (frozen or self).eval_mode
        self._probe = TeacherProbe(runner, self.seed, eval_mode)
        logits = self._probe.check()
        # A FrozenTeacherHook makes what is recorded float32.
        self._record_dtype = torch.float32 if frozen else logits.dtype
        precision = (frozen and frozen.dtype) or str(logits.dtype).removeprefix('torch.')
        classes = logits.shape[1]
        valid = self.top_k is None or self.top_k < classes
        expect(valid, f'{NAME}: top_k', self.top_k, f'less than the {classes} classes')
        header = dict(
            version=2,
            classes=classes,
            dtype=self.dtype,
            top_k=self.top_k,
            seed=self.seed.seed,
            precision=precision,
            eval_mode=eval_mode,
            teacher=self._probe.hash,
            **self._probe.inputs,
        )
        try:
            self.store = LogitStore(self.path, header)
        except OSError as error:
            raise ValueError(
                f'{NAME}: path={self.path!r}, expected a folder that can be made or read. {error}'
            ) from error
        self.store.encode(logits.float().cpu().numpy())
        self._probe.compare(self.store)
        self._compare_modes = frozen is None
        self._offloaded = OffloadedTeacher(runner) if self.offload else None

    def before_train_epoch(self, runner: Runner) -> None:
        """Tells the workers which view they make.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: What the logits depend on has been changed.
        """
        check_batch_augments(get_model(runner))
        self._probe.check_unchanged(runner.epoch + 1)
        self.seed.view = runner.epoch if self.views is None else runner.epoch % self.views

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Replaces the teacher's ``forward``, which may be that of a ``FrozenTeacherHook``.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the batch in the epoch.
            data_batch (dict, tuple or list, optional): Data from the data loader.

        Raises:
            ValueError: The images have several sizes.
        """
        check_sizes(data_batch['inputs'], 'sizes of the images of a batch')
        if self._prepared:
            return
        model, self._logger = get_model(runner), runner.logger

        def forward(inputs: Any, data_samples: Any) -> dict:
            check_batch_augments(model)
            buffers = [r.data_buffer for r in model.distiller.teacher_recorders.recorders.values()]

            def run(rows: list[int]) -> Tensor:
                if self.eval_mode and model.teacher.training:
                    model.teacher.eval()
                if self._offloaded:
                    self._offloaded.load()
                same = self._probe.is_unchanged(self._compare_modes)
                key = f'{NAME}: weights or modes of the teacher or the data_preprocessor'
                expect(same, key, 'others', 'those of the start')
                every = len(rows) == len(data_samples)
                images = inputs if every else inputs[rows]
                original(images, [data_samples[i] for i in rows], mode='loss')
                return buffers[0][0]

            logits = self._get_logits(data_samples, run).to(inputs.device)
            for buffer in buffers:
                buffer[:] = [logits]
            return {}

        original = replace_forward(model, forward)
        self._prepared = True

    def after_train_epoch(self, runner: Runner) -> None:
        """Logs how many rows of the epoch were read.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: What the logits depend on has been changed.
        """
        self._probe.check_unchanged(runner.epoch + 1)
        rows = f'{self.read} of {self.read + self.computed} rows'
        runner.logger.info(f'{NAME}: read {rows} from {self.path}.')
        self.read = self.computed = 0

    def after_train(self, runner: Runner) -> None:
        """Restores the teacher and the data set.

        Args:
            runner (Runner): The runner of the training process.
        """
        restore_forward(get_model(runner))
        unseed_augmentation(runner.train_dataloader.dataset)
        self._prepared = False

    def _get_logits(self, data_samples: list, run: Any) -> Tensor:
        """Reads logits from the store; ``run`` computes those that are missing."""
        views = {sample.get(VIEW) for sample in data_samples}
        key = f'{NAME}: {VIEW} of the samples'
        expect(len(views) == 1 and None not in views, key, views, 'one, as its pipeline gives')
        (view,) = views
        indices = [sample.sample_idx for sample in data_samples]
        logits, stored = self.store.read(view, indices)
        missing = np.flatnonzero(~stored).tolist()
        if missing:
            live = run(missing).detach().float().cpu().numpy()
            rows = self.store.encode(live)
            logits[missing] = self.store.decode(rows)
            try:
                if self.write_error is None:
                    self.store.write(view, [indices[i] for i in missing], rows)
            except OSError as error:
                self.write_error = error
                self._logger.warning(f'{NAME}: stores no more in {self.path!r}. {error}')
        self.computed += len(missing)
        self.read += len(indices) - len(missing)
        return torch.from_numpy(logits).to(self._record_dtype)

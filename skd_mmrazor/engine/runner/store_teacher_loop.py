"""A loop that stores a teacher's logits without training."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmrazor.registry import LOOPS
from torch import nn
from torch.utils.data import DataLoader

from ...utils import expect
from ..hooks import StoredTeacherHook
from ..utils import get_model


@LOOPS.register_module()
class StoreTeacherLoop(EpochBasedTrainLoop):
    """Runs the teacher on the images that the store of a ``StoredTeacherHook`` lacks.

    Args:
        runner (Runner): The runner, which has the hook.
        dataloader (DataLoader or dict): The training data, or its config.
        max_epochs (int): The number of views.
        part (int): Which images to store: those whose number modulo ``parts`` is
            this. Defaults to 0.
        parts (int): The number of processes that share the work. Defaults to 1.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: Any,
        max_epochs: int,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        super().__init__(runner, dataloader, max_epochs)
        self.part = part
        self.parts = parts
        # Called with the number of images that are stored, and the total.
        self.report: Callable[[int, int], Any] = lambda stored, total: None

    def run(self) -> nn.Module:
        """Stores all views, one after another.

        Returns:
            nn.Module: The model, unchanged.

        Raises:
            ValueError: The runner has no ``StoredTeacherHook``.
            OSError: The store could not be written to.
        """
        hooks = [hook for hook in self.runner.hooks if isinstance(hook, StoredTeacherHook)]
        expect(len(hooks) == 1, 'custom_hooks', hooks, 'one StoredTeacherHook')
        self.runner.call_hook('before_train')
        for view in range(self._max_epochs):
            self._epoch = view
            self.runner.call_hook('before_train_epoch')
            self.runner.model.train()
            self._store_view(hooks[0])
        self.runner.call_hook('after_train')
        return self.runner.model

    @torch.no_grad()
    def _store_view(self, hook: StoredTeacherHook) -> None:
        model = get_model(self.runner)
        stored = hook.store.get_stored(hook.seed.view)[self.part :: self.parts]
        done, total = self._epoch * len(stored) + int(stored.sum()), self._max_epochs * len(stored)
        self.report(done, total)
        for i, batch in enumerate(self._get_loader(np.flatnonzero(~stored))):
            self.runner.call_hook('before_train_iter', batch_idx=i, data_batch=batch)
            data = model.data_preprocessor(batch, training=True)
            context = self.runner.optim_wrapper.optim_context(self.runner.model)
            with context, model.distiller.teacher_recorders:
                model.teacher(data['inputs'], data['data_samples'], mode='loss')
            if hook.write_error is not None:
                raise OSError(f'{hook.path}: {hook.write_error}') from hook.write_error
            done += len(data['inputs'])
            self.report(done, total)

    def _get_loader(self, positions: np.ndarray) -> DataLoader:
        theirs = self.dataloader
        indices = (positions * self.parts + self.part).tolist()
        return DataLoader(
            theirs.dataset,
            # Of a batch sampler, where the config has one.
            batch_size=theirs.batch_size or getattr(theirs.batch_sampler, 'batch_size', 1),
            sampler=indices,
            num_workers=theirs.num_workers,
            collate_fn=theirs.collate_fn,
            worker_init_fn=theirs.worker_init_fn,
        )

"""Checks that a teacher's logits depend on the image alone, and equal those of a store."""

import copy
from typing import Any

import numpy as np
import torch
from mmengine.dataset import DefaultSampler, default_collate, pseudo_collate
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import RandomSampler, SequentialSampler, default_convert

from ..datasets.augmentation_seed import AugmentationSeed, seeded
from ..datasets.logit_store import LogitStore
from ..models.utils import HALF_TOLERANCE, TOLERANCE, difference
from ..utils import expect
from .utils import expect_frozen_teacher, get_model, get_sampler, keep_random_state

NAME = 'StoredTeacherHook'
_SAMPLERS = (DefaultSampler, RandomSampler, SequentialSampler)
_COLLATES = (pseudo_collate, default_collate, default_convert)
_IMAGES = 8
# More, since a transform may be applied to few images.
_AUGMENTED_IMAGES = 64


def check_run(runner: Runner, kind: type) -> None:
    """Refuses a teacher that is trained or has two stores, and what changes a batch as a whole.

    Samplers may give an image twice in an epoch, and collate functions, deliveries and batch
    augmentation may mix the images of a batch.

    Args:
        runner (Runner): The runner of the training process.
        kind (type): The class of the hook that stores.

    Raises:
        ValueError: The algorithm, its wrapper or a setting is not supported.
    """
    model = expect_frozen_teacher(runner, NAME)
    paths = [vars(hook)['path'] for hook in runner.hooks if isinstance(hook, kind)]
    expect(len(paths) == 1, f'custom_hooks: path of each {NAME}', paths, 'one')
    deliveries = list(model.distiller.deliveries.deliveries)
    expect(not deliveries, f'{NAME}: distiller.distill_deliveries', deliveries, 'none')
    check_batch_augments(model)
    loader = runner.train_dataloader
    sampler = get_sampler(loader)
    expected = "'DefaultSampler', by which an image is augmented once in an epoch"
    known = type(sampler) in _SAMPLERS
    expect(known, f'{NAME}: train_dataloader.sampler.type', type(sampler).__name__, expected)
    collate = getattr(loader.collate_fn, 'func', loader.collate_fn)
    expected = "'pseudo_collate', 'default_collate' or 'default_convert'"
    name = getattr(collate, '__name__', repr(collate))
    expect(collate in _COLLATES, f'{NAME}: train_dataloader.collate_fn', name, expected)


def check_batch_augments(model: Any) -> None:
    """Refuses Mixup, CutMix and similar augmentations.

    Args:
        model (SingleTeacherDistill): The algorithm.

    Raises:
        ValueError: The data preprocessor has any.
    """
    augments = getattr(model.data_preprocessor, 'batch_augments', None)
    names = [type(augment).__name__ for augment in getattr(augments, 'augments', [augments])]
    key = f'{NAME}: data_preprocessor.batch_augments'
    expect(not augments, key, names, 'none, since they mix images with others of the batch')


class TeacherProbe:
    """Runs a teacher on images of the training data, outside of training.

    Args:
        runner (Runner): The runner of the training process.
        seed (AugmentationSeed): The seed of the training data.
        eval_mode (bool): Whether the teacher is in evaluation mode.
    """

    def __init__(self, runner: Runner, seed: AugmentationSeed, eval_mode: bool) -> None:
        self.model, self._runner = get_model(runner), runner
        self.recorders = self.model.distiller.teacher_recorders
        self.loader = runner.train_dataloader
        self._seed, self._eval_mode = seed, eval_mode
        self._drew = False
        self.model.train()
        if eval_mode:
            self.model.teacher.eval()

    def check(self) -> Tensor:
        """Makes sure that only logits are recorded, and that they depend on the image alone.

        Returns:
            Tensor: Logits, of shape (N, classes).

        Raises:
            ValueError: Something else is recorded; the pipeline, the data preprocessor
                or the teacher draws random numbers that are not seeded; or the logits
                depend on the other images of the batch.
        """
        images = range(len(self.loader.dataset))
        raw = [self._get_batch(0, images[:_AUGMENTED_IMAGES])['inputs'] for _ in range(2)]
        key = f'{NAME}: train_dataloader.dataset.pipeline'
        expected = 'that Python, NumPy and torch draw all its random numbers, which can be seeded'
        expect(difference(*raw) == 0, key, 'different images for one seed', expected)
        batch = self._get_batch(0, images[:_IMAGES])
        data, other = (self._prepare(batch, seed) for seed in range(2))
        same = difference(data['inputs'], other['inputs']) == 0
        key = f'{NAME}: data_preprocessor'
        expect(same, key, 'different outputs for one batch', 'that it draws no random numbers')
        records = self._record(data)
        expected = 'True, since the teacher has dropout or drop path'
        if self._eval_mode:
            expected = 'a teacher that draws no random numbers in evaluation mode'
        expect(not self._drew, f'{NAME}: eval_mode', self._eval_mode, expected)
        tensors = [r for record in records.values() for r in record if isinstance(r, Tensor)]
        finite = all(tensor.isfinite().all() for tensor in tensors)
        expected = 'finite numbers: is the checkpoint of the teacher sound?'
        expect(finite, f'{NAME}: records of the teacher', 'NaN or Inf', expected)
        logits = self._run(data, 'tensor')
        for name, record in records.items():
            same = len(record) == 1 and difference(record[0], logits) <= TOLERANCE
            shapes = [tuple(r.shape) if isinstance(r, Tensor) else type(r).__name__ for r in record]
            key = f'{NAME}: distiller.teacher_recorders.{name}'
            expected = (
                "the teacher's logits, (N, classes) once a step, alone: any other record, of "
                'features or of levels of a detector, needs the teacher'
            )
            expect(same and len(shapes[0]) == 2, key, shapes, expected)
        expect(
            bool(records), f'{NAME}: distiller.teacher_recorders', 'none', "the teacher's logits"
        )
        found = next(iter(records.values()))[0]
        first = self._record(self._prepare(self._get_batch(0, [0]), 0))
        alone = difference(next(iter(first.values()))[0], found[:1])
        key = f'{NAME}: logits of an image'
        expected = 'the same, whatever the other images of the batch are'
        expect(alone <= TOLERANCE, key, 'different in another batch', expected)
        return found

    def compare(self, store: LogitStore) -> None:
        """Compares some rows of a store, chosen at random, with the teacher.

        Args:
            store (LogitStore): The store.

        Raises:
            ValueError: A logit differs by more than rounding.
        """
        choose = np.random.default_rng()
        for view in choose.permutation(store.get_views()).tolist():
            stored = np.flatnonzero(store.get_stored(view))
            if len(stored):
                break
        else:
            return
        indices = choose.permutation(stored)[:_IMAGES].tolist()
        data = self._prepare(self._get_batch(view, indices), 0)
        live = next(iter(self._record(data).values()))[0].float().cpu()
        found = torch.from_numpy(store.read(view, indices)[0])
        kept = found.topk(store.top_k or store.classes).indices
        errors = difference(found.gather(1, kept), live.gather(1, kept))
        tolerance = TOLERANCE if store.header['precision'] == 'float32' else HALF_TOLERANCE
        expected = (
            f"the teacher's logits, to {tolerance} of the largest; those of the images {indices} "
            f'in view {view} differ by {errors:.3g}'
        )
        expect(errors <= tolerance, f'{NAME}: path', str(store.path), expected)

    def _get_batch(self, view: int, indices: Any) -> dict:
        """As the data loader would give it."""
        dataset, self._seed.view = self.loader.dataset, view
        if hasattr(dataset, '__getitems__'):
            return self.loader.collate_fn(dataset.__getitems__(list(indices)))
        return self.loader.collate_fn([dataset[i] for i in indices])

    def _prepare(self, batch: dict, seed: int) -> dict:
        with seeded(seed), keep_random_state():
            return self.model.data_preprocessor(copy.deepcopy(batch), training=True)

    @torch.no_grad()
    def _run(self, data: dict, mode: str) -> Any:
        context = self._runner.optim_wrapper.optim_context(self._runner.model)
        with seeded(0), keep_random_state() as has_drawn, context:
            found = self.model.teacher(data['inputs'], data['data_samples'], mode=mode)
            self._drew = has_drawn()
        return found

    def _record(self, data: dict) -> dict[str, list]:
        with self.recorders:
            self._run(data, 'loss')
        return {name: list(r.data_buffer) for name, r in self.recorders.recorders.items()}

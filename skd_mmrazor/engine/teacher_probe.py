"""Runs a frozen teacher on a few images, to see what its logits depend on."""

import copy
import hashlib
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.augmentation_seed import AugmentationSeed, is_seeded, seeded
from ..datasets.logit_store import LogitStore
from ..models.utils import HALF_TOLERANCE, TOLERANCE, difference
from ..utils import expect
from ..utils.descriptions import to_bytes
from .fingerprints import (
    describe_inputs,
    hash_model,
    hash_samples,
    keep_constant,
    take_norms,
)
from .stored_teacher_checks import NAME, check_sizes
from .utils import get_model, keep_random_state

_IMAGES = 8
# More, since a transform may be applied to few images.
_AUGMENTED_IMAGES = 64
_ROUNDING = 1e-6


class TeacherProbe:
    """Runs a teacher on images of the training data, outside of training.

    Args:
        runner (Runner): The runner of the training process.
        seed (AugmentationSeed): The seed of the training data.
        eval_mode (bool): Whether the teacher is in evaluation mode.

    Attributes:
        hash (str): The hash of the teacher.
        inputs (dict): What its logits depend on, but for its weights.
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
        self.hash, self._norms = hash_model(self.model.teacher), take_norms(self.model)
        self._modes, self._images = self._get_modes(), ''
        # Before the images are used.
        self.inputs = describe_inputs(self.loader.dataset, self.model)

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
        self._images = self._hash_images()
        key = f'{NAME}: train_dataloader.dataset.pipeline'
        expected = 'that Python, NumPy and torch draw all its random numbers, which can be seeded'
        same = self._hash_images() == self._images
        expect(same, key, 'different images for one seed', expected)
        data = self._prepare(self._get_batch(0, images[:_IMAGES]))
        key = f'{NAME}: data_preprocessor'
        expect(not self._drew, key, 'draws random numbers', 'none, since they are not seeded')
        records = self._record(data)
        expected = 'True, since the teacher has dropout or drop path'
        if self._eval_mode:
            expected = 'a teacher that draws no random numbers in evaluation mode'
        expect(not self._drew, f'{NAME}: eval_mode', self._eval_mode, expected)
        tensors = [r for record in records.values() for r in record if isinstance(r, Tensor)]
        finite = all(tensor.isfinite().all() for tensor in tensors)
        expected = 'finite numbers: is the checkpoint of the teacher sound?'
        expect(finite, f'{NAME}: records of the teacher', 'NaN or Inf', expected)
        same = self.is_unchanged(modes=False)
        key = f'{NAME}: weights and buffers of the teacher'
        expect(same, key, 'change when it is run', 'constant ones')
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
        first = self._record(self._prepare(self._get_batch(0, [0])))
        alone = difference(next(iter(first.values()))[0], found[:1])
        key = f'{NAME}: logits of an image'
        expected = 'the same, whatever the other images of the batch are'
        expect(alone <= TOLERANCE, key, 'different in another batch', expected)
        used = describe_inputs(self.loader.dataset, self.model)
        self.inputs = keep_constant(self.inputs, used, f'{NAME}: train_dataloader')
        self.inputs['images_below_data_root'] = hash_samples(self.loader.dataset)
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
        data = self._prepare(self._get_batch(view, indices))
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

    def check_unchanged(self, epoch: int) -> None:
        """Makes sure that the teacher, the pipeline and the preprocessor are those of the start.

        Args:
            epoch (int): The number of the epoch, for the message.

        Raises:
            ValueError: One has been changed.
        """
        expected = (
            'those of the start; if they changed within an epoch, remove the rows of its view'
        )
        same = hash_model(self.model.teacher) == self.hash
        expect(same, f'{NAME}: weights of the teacher in epoch {epoch}', 'others', expected)
        kept = is_seeded(self.loader.dataset) and self._hash_images() == self._images
        key = f'{NAME}: images of the pipeline and the data_preprocessor in epoch {epoch}'
        expect(kept, key, 'others', expected)

    def is_unchanged(self, modes: bool = True) -> bool:
        """Whether teacher and preprocessor are those of the start, as far as norms tell.

        Args:
            modes (bool): Whether the training flags of the teacher's modules count.
        """
        norms = take_norms(self.model)
        # Another number of threads sums in another order.
        same = torch.allclose(norms, self._norms.to(norms.device), rtol=_ROUNDING, atol=0)
        return same and (not modes or self._get_modes() == self._modes)

    def _get_modes(self) -> list[bool]:
        return [module.training for module in self.model.teacher.modules()]

    def _hash_images(self) -> str:
        """The hash of some images as the pipeline makes them and as the teacher gets them."""
        images = range(len(self.loader.dataset))[:_AUGMENTED_IMAGES]
        batch = self._get_batch(0, images)
        check_sizes(batch['inputs'], 'sizes of the images')
        found = hashlib.sha256(b''.join(map(to_bytes, batch['inputs'])))
        found.update(to_bytes(self._prepare(batch)['inputs']))
        return found.hexdigest()

    def _get_batch(self, view: int, indices: Any) -> dict:
        """As the data loader would give it."""
        dataset, self._seed.view = self.loader.dataset, view
        if hasattr(dataset, '__getitems__'):
            return self.loader.collate_fn(dataset.__getitems__(list(indices)))
        return self.loader.collate_fn([dataset[i] for i in indices])

    def _prepare(self, batch: dict) -> dict:
        with seeded(0), keep_random_state() as has_drawn:
            data = self.model.data_preprocessor(copy.deepcopy(batch), training=True)
            self._drew = has_drawn()
        return data

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

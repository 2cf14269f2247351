"""Refuses what a stored teacher cannot have: batches that mix images, and teachers that learn."""

from typing import Any

from mmengine.dataset import DefaultSampler, default_collate, pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import RandomSampler, SequentialSampler, default_convert

from ..utils import expect
from .hooks.frozen_teacher_hook import FrozenTeacherHook
from .utils import expect_frozen_teacher, get_sampler

NAME = 'StoredTeacherHook'
_SAMPLERS = (DefaultSampler, RandomSampler, SequentialSampler)
_COLLATES = (pseudo_collate, default_collate, default_convert)


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


def check_sizes(images: Any, key: str) -> None:
    """Refuses a batch whose images have several sizes: they are padded to the largest.

    Args:
        images (list[Tensor] or Tensor): The images.
        key (str): What they are, in the message.

    Raises:
        ValueError: There is more than one size.
    """
    sizes = sorted({tuple(image.shape) for image in images}) if isinstance(images, list) else []
    expected = 'one size, since the images of a batch are padded to its largest'
    expect(len(sizes) < 2, f'{NAME}: {key}', sizes, expected)


def find_frozen_hook(runner: Runner, hook: Any) -> FrozenTeacherHook | None:
    """Finds the hook whose copy of the teacher is run, if there is one.

    Args:
        runner (Runner): The runner of the training process.
        hook (StoredTeacherHook): The hook that stores.

    Returns:
        FrozenTeacherHook: The hook, or None.

    Raises:
        ValueError: It comes after the hook that stores, or the teacher is offloaded.
    """
    frozen = next((h for h in runner.hooks if isinstance(h, FrozenTeacherHook)), None)
    if frozen is not None:
        expected = 'False beside a FrozenTeacherHook, which keeps a copy of the teacher'
        expect(not hook.offload, f'{NAME}: offload', True, expected)
        last = runner.hooks.index(hook) > runner.hooks.index(frozen)
        key = f'{NAME}: priority'
        expect(last, key, hook.priority, 'a lower one than that of FrozenTeacherHook')
    return frozen

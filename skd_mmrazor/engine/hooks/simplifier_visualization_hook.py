"""A hook that draws the teacher's and the simplified targets during training."""

import contextlib
from collections.abc import Iterator
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import MLflowVisBackend
from mmrazor.registry import HOOKS
from torch import Tensor, nn

from ...utils import error_context, expect, is_integer
from ..utils import counts_epochs, get_model, keep_random_state


@HOOKS.register_module()
class SimplifierVisualizationHook(Hook):
    """Draws the simplified targets of some validation images.

    Every few epochs, for the images about which the teacher is least sure: the
    image, and the distributions of the teacher, of the target that the loss receives now,
    and of the student as bars, all at the temperature of the loss; beside them the
    attention, among the images of the batch or among the classes. Of segmentation, with
    logits of shape (N, C, H, W), the maps of classes and where the target differs from the
    teacher. A training that counts iterations is drawn every few iterations. The picture
    goes to the visualizer's backends: to ``vis_data/vis_image`` of the run with
    mmengine's ``LocalVisBackend``, to TensorBoard with ``TensorboardVisBackend``.

    The images are the same each time, spread evenly over the validation
    set. Training is not changed in any bit: random states, modes of the modules and
    records are restored.

    Args:
        interval (int): The number of epochs between two pictures, or of iterations where
            the training counts them. Defaults to 10.
        batch_size (int): How many images attend to each other; of maps each to itself.
            Defaults to 16.
        num_samples (int): How many of them are drawn. Defaults to 4.
        num_classes (int): How many classes are drawn, the teacher's first.
            Defaults to 6.

    Raises:
        ValueError: An argument is no positive integer, the distiller has no
            simplifier, its logits are those of a pyramid, the images are of several sizes,
            there is nothing to validate on, or the model has no teacher beside its student.

    Note:
        The student is drawn with its current weights, not with the average of
        ``EMAHook``. Only one process draws, so the hook cannot be used with FSDP,
        which shards the models.

    Examples:
        >>> # In a config:
        >>> custom_hooks = [dict(type='mmrazor.SimplifierVisualizationHook', interval=10)]
    """

    def __init__(
        self, interval: int = 10, batch_size: int = 16, num_samples: int = 4, num_classes: int = 6
    ) -> None:
        self.interval = interval
        self.batch_size = batch_size
        self.num_samples = num_samples
        self.num_classes = num_classes
        for key, value in vars(self).items():
            expect(is_integer(value, 1), f'{type(self).__name__}: {key}', value, 'an integer > 0')

    def before_train(self, runner: Runner) -> None:
        """Draws once as a test, before anything is trained.

        Args:
            runner (Runner): The runner of the training process.
        """
        model = get_model(runner)
        distiller = getattr(model, 'distiller', None)
        found = type(distiller).__name__
        _expect(hasattr(distiller, 'simplifier'), 'model.distiller', found, 'an SKDDistiller')
        expected = 'an algorithm that has a teacher beside its student'
        _expect(hasattr(model, 'teacher'), 'model.type', type(model).__name__, expected)
        _expect(runner.val_loop is not None, 'val_dataloader', None, 'images to draw')
        with _leaving_as_it_was(model):
            self._draw(runner, model)

    @master_only
    def after_train_epoch(self, runner: Runner) -> None:
        """Draws, every ``interval`` epochs.

        Args:
            runner (Runner): The runner of the training process.
        """
        if counts_epochs(runner) and self.every_n_epochs(runner, self.interval):
            self._write(runner, runner.epoch + 1)

    @master_only
    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Draws, every ``interval`` iterations of a training that counts no epochs.

        Args:
            runner (Runner): The runner of the training process.
            *args: As for any hook.
            **kwargs: As for any hook.
        """
        if not counts_epochs(runner) and self.every_n_train_iters(runner, self.interval):
            self._write(runner, runner.iter + 1)

    def _write(self, runner: Runner, step: int) -> None:
        model = get_model(runner)
        with _leaving_as_it_was(model):
            picture = self._draw(runner, model)
        for backend in runner.visualizer._vis_backends.values():
            # MLflow's takes the name of a file, and no step.
            is_file = isinstance(backend, MLflowVisBackend)
            name = f'simplification_{step}.png' if is_file else 'simplification'
            backend.add_image(name, picture, step=step)

    def _draw(self, runner: Runner, model: Any) -> np.ndarray:
        # Not at the top: it imports matplotlib.
        from ...visualization import draw_simplification, draw_simplified_maps

        dataset = runner.val_loop.dataloader.dataset
        size = min(self.batch_size, len(dataset))
        # Spread, as data sets are often sorted by class.
        indices = np.linspace(0, len(dataset) - 1, size).round().astype(int)
        data = pseudo_collate([dataset[i] for i in indices])
        teacher, student, padded = _get_logits(model, data)
        simplifier = model.distiller.simplifier
        # It softens in training mode alone. Its parts stay in evaluation mode.
        simplifier.training = True
        logits = {'teacher': teacher, 'simplified': simplifier(teacher), 'student': student}
        scores = {k: (z / simplifier.tau).softmax(dim=1).cpu().numpy() for k, z in logits.items()}
        has_attention = hasattr(simplifier, 'get_attention')
        past = runner.epoch if counts_epochs(runner) else runner.iter
        unit = 'Epoch' if counts_epochs(runner) else 'Iteration'
        title = f'{unit} {past + 1}   ·   τ = {simplifier.tau:g}'
        if hasattr(simplifier, 'current_factor'):
            title += f'   ·   s = {simplifier.current_factor:.2f}'
        if hasattr(simplifier, 'current_lam'):
            title += f'   ·   λ = {float(simplifier.current_lam):+.3f}'.replace('-', '−')
        metainfo = dataset.metainfo or {}
        classes = [str(name) for name in metainfo.get('classes') or range(teacher.shape[1])]
        images = _get_images(data['inputs'], model.data_preprocessor)
        if teacher.dim() > 2:
            palette = _get_palette(metainfo.get('palette'), teacher.shape[1])
            # The preprocessor pads to the right and at the bottom.
            images = [mmcv.impad(image, shape=padded) for image in images]
            return draw_simplified_maps(images, classes, palette, scores, title, self.num_samples)
        return draw_simplification(
            images,
            [_get_labels(sample) for sample in data.get('data_samples') or [None] * size],
            classes,
            scores,
            simplifier.get_attention(teacher).cpu().numpy() if has_attention else None,
            title,
            self.num_samples,
            self.num_classes,
        )


def _get_logits(model: Any, data: dict) -> tuple[Tensor, Tensor, torch.Size]:
    """The logits that the simplifier reads, the student's, and the size of what they see."""
    key, size = f'{SimplifierVisualizationHook.__name__}: batch_size', len(data['inputs'])
    with error_context(key, size, 'images that make a batch: 1 where their sizes differ'):
        data = model.data_preprocessor(data, False)
    batch = data['inputs'], data.get('data_samples')
    distiller = model.distiller
    mappings = [m for mapping in distiller.loss_forward_mappings.values() for m in mapping.values()]
    record = next(mapping for mapping in mappings if mapping.get('simplify'))
    recorder = distiller.teacher_recorders.get_recorder(record['recorder'])
    # mode='loss' may need labels that the images lack, and is rarely needed for a record.
    for mode in ('tensor', 'loss'):
        with distiller.teacher_recorders:
            model.teacher(*batch, mode=mode)
        if recorder.data_buffer:
            break
    teacher = distiller.get_record(**{**record, 'simplify': False})
    key, expected = "shape of the teacher's logits", '(N, C) or maps (N, C, H, W) of no pyramid'
    found = f'{len(teacher)} levels' if isinstance(teacher, list) else tuple(teacher.shape)
    _expect(len(found) in (2, 4), key, found, expected)
    student = model.student(data['inputs'], mode='tensor')
    found = tuple(getattr(student, 'shape', ())) or type(student).__name__
    expected = f"as many classes and dimensions as the teacher's {tuple(teacher.shape)}"
    fits = len(found) == teacher.dim() and found[1] == teacher.shape[1]
    _expect(fits, "shape of the student's logits", found, expected)
    return teacher.float(), student.float(), data['inputs'].shape[2:]


def _expect(valid: bool, key: str, found: Any, expected: str) -> None:
    expect(valid, key, found, f'{expected}, or custom_hooks without SimplifierVisualizationHook')


def _get_palette(colors: Any, num_classes: int) -> np.ndarray:
    """(C, 3) from 0 to 1: those of the data set, if it has one for each class."""
    from matplotlib import colormaps

    if colors is not None and len(colors) == num_classes:
        return np.asarray(colors) / 255
    return colormaps['turbo'](np.linspace(0, 1, num_classes))[:, :3]


def _get_labels(sample: Any) -> list[int]:
    """All labels of a sample, which may have none."""
    labels = None if sample is None else sample.get('gt_label')
    return [] if labels is None else labels.tolist()


def _get_images(inputs: list[Tensor], preprocessor: nn.Module) -> list[np.ndarray]:
    """(H, W) or (H, W, 3) in RGB each, as the data set loaded them."""
    # mmpretrain's name, mmengine's and mmsegmentation's.
    names = ('to_rgb', '_channel_conversion', 'channel_conversion')
    flips = any(getattr(preprocessor, name, False) for name in names)
    images = []
    for image in inputs:
        image = image.flip(0) if flips and len(image) == 3 else image
        if image.dtype != torch.uint8:
            low, high = image.min(), image.max()
            image = (255 * (image - low) / (high - low).clamp(min=1e-6)).to(torch.uint8)
        images.append(image.permute(1, 2, 0).squeeze(-1).cpu().numpy())
    return images


@contextlib.contextmanager
def _leaving_as_it_was(model: Any) -> Iterator[None]:
    """Evaluation mode without gradients; restores modes, records and random states."""
    modes = {module: module.training for module in model.modules()}
    recorders = model.distiller.teacher_recorders.recorders.values()
    records = [list(recorder.data_buffer) for recorder in recorders]
    model.eval()
    try:
        with torch.no_grad(), keep_random_state():
            yield
    finally:
        for recorder, record in zip(recorders, records, strict=True):
            recorder.data_buffer[:] = record
        for module, mode in modes.items():
            module.training = mode

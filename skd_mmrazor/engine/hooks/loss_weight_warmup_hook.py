"""A distillation loss that grows to its weight over the first epochs."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ...utils import expect, is_integer, is_number
from ..utils import expect_epochs, get_model


@HOOKS.register_module()
class LossWeightWarmupHook(Hook):
    """Multiplies the weight of distillation losses by ``min(epoch / epochs, 1)``.

    The linear warm-up of `Decoupled Knowledge Distillation
    <https://arxiv.org/abs/2203.08679>`_, which counts epochs from 1 and takes 20
    on CIFAR-100. The factor depends on the epoch alone, so a resumed run continues
    where it stopped. After training ``loss_weight`` is again that of the config. With
    SKD the simplifier warms up as the student does, since both are trained by the
    same loss.

    mmengine's ``ParamScheduler`` changes optimizers only, and mmrazor's
    ``StopDistillHook`` can only end all distillation.

    Args:
        loss (str, optional): Name of the loss in ``distiller.distill_losses``.
            Defaults to None: all of them.
        epochs (int): The epoch from which the weight is that of the config. Defaults
            to 20.

    Raises:
        ValueError: ``epochs`` is not a positive integer.

    Examples:
        >>> # ``_base_.custom_hooks`` are those of the base, which stay.
        >>> custom_hooks = [
        ...     *_base_.custom_hooks,
        ...     dict(type='mmrazor.LossWeightWarmupHook', loss='loss_dkd', epochs=20)]
    """

    def __init__(self, loss: str | None = None, epochs: int = 20) -> None:
        expect(is_integer(epochs, 1), f'{type(self).__name__}: epochs', epochs, 'an integer >= 1')
        self.loss = loss
        self.epochs = epochs
        self._weights: dict[Any, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Finds the losses, and notes their weights.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: The loop has no epochs, or the model no such distillation
                loss with a ``loss_weight``.
        """
        expect_epochs(runner, self)
        hook = type(self).__name__
        losses = getattr(getattr(get_model(runner), 'distiller', None), 'distill_losses', {})
        known = list(losses)
        names = known if self.loss is None else [self.loss]
        expected = f'one of distiller.distill_losses, {known}'
        expect(names != [] and names[0] in known, f'{hook}: loss', self.loss, expected)
        for name in names:
            weight: Any = getattr(losses[name], 'loss_weight', None)
            key = f'distiller.distill_losses.{name}.loss_weight'
            expect(is_number(weight), key, weight, f'a number, which {hook} can multiply')
            # Not overwritten: a run that ended in an error has left smaller weights.
            self._weights.setdefault(losses[name], weight)

    def before_train_epoch(self, runner: Runner) -> None:
        """Sets the weights of the epoch.

        Args:
            runner (Runner): The runner of the training process.
        """
        self._scale(min((runner.epoch + 1) / self.epochs, 1))

    def after_train(self, runner: Runner) -> None:
        """Sets the weights of the config.

        Args:
            runner (Runner): The runner of the training process.
        """
        self._scale(1)

    def _scale(self, factor: float) -> None:
        for loss, weight in self._weights.items():
            loss.loss_weight = weight * factor

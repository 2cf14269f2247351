"""A loss that is NaN or infinite stops the run, and its model is not saved."""

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ..utils import get_model


@HOOKS.register_module()
class CheckInvalidLossHook(Hook):
    """Stops at the first iteration with a loss that is NaN or infinite.

    All logged losses are checked, not only their sum, so the message names the term
    that failed, and every other logged value of that step that is not finite. In a
    step in which SKD computes its statistics, ``distill.teacher_entropy=nan`` says
    that the teacher's logits were the cause.
    Gradients are not checked: dynamic loss scaling makes them overflow now and
    then, and skips those steps. A model whose parameters are not finite is not
    saved, so the last checkpoint is a good one.

    Note:
        The values are those that ``RuntimeInfoHook`` put into the message hub, so
        the hook does not synchronise CUDA once more.
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses of the iteration.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the batch in the epoch.
            data_batch (dict, tuple or list, optional): Data from the data loader.
            outputs (dict, optional): What the model logs, by name.

        Raises:
            FloatingPointError: Names the values, the epoch and the iteration.
        """
        history = runner.message_hub.log_scalars
        values = {name: history[f'train/{name}'].current() for name in outputs or ()}
        wrong = [f'{name}={value}' for name, value in values.items() if not math.isfinite(value)]
        if any('loss' in name for name in wrong):
            raise FloatingPointError(
                f'{", ".join(wrong)} at epoch {runner.epoch + 1}, iteration {batch_idx + 1} '
                f'({runner.iter + 1} in all), expected finite losses. '
                'The last checkpoint was saved before this.'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the parameters that are about to be saved.

        Args:
            runner (Runner): The runner of the training process.
            checkpoint (dict): The checkpoint.

        Raises:
            FloatingPointError: Names the first parameter that is not finite, and
                the iteration.
        """
        model = get_model(runner)
        # Parameters only: a buffer may hold the infinities of a mask.
        parameters = {name for name, _ in model.named_parameters()}
        for name, value in checkpoint['state_dict'].items():
            if name in parameters and not torch.isfinite(value).all():
                raise FloatingPointError(
                    f'{name} is not finite after {runner.iter} iterations: this model is not '
                    'saved, and the last checkpoint stays.'
                )

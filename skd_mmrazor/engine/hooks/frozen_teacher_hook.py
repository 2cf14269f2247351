"""A hook that runs a frozen teacher faster."""

import copy
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from ...models.utils import HALF_TOLERANCE, TOLERANCE, FrozenTeacher, difference
from ...utils import error_context, expect
from ..utils import (
    expect_frozen_teacher,
    get_model,
    keep_random_state,
    replace_forward,
    restore_forward,
)

_NAME = 'FrozenTeacherHook'


@HOOKS.register_module()
class FrozenTeacherHook(Hook):
    """Speeds up the frozen teacher of ``SingleTeacherDistill``.

    mmrazor runs a frozen teacher as if it were trained. With this hook the training
    steps run an optimised copy. The original is left alone: checkpoints and
    validation use it, and a run may be resumed with the hook or without.

    Each part is checked on the first batch, one after the other: if a recorder of the
    teacher would record something else, beyond rounding, the run stops with an error
    that names the part. The random numbers of the run stay those of a run without
    the hook, but for those that the teacher's own loss would draw, as a detector's
    does, which ``skip_loss`` leaves out.

    Args:
        fold_bn (bool): Whether to fold batch norm into the convolutions before
            it. A batch norm or convolution that is recorded is left as it is.
            Defaults to True.
        skip_loss (bool): Whether to run the teacher with ``mode='tensor'``, up
            to its logits, in place of ``mode='loss'``. Refused if something after
            the logits is recorded, or if there are ``distill_deliveries``. Defaults
            to True.
        channels_last (bool): Whether to run it in the memory format
            ``torch.channels_last``. Defaults to False.
        dtype (str, optional): ``'bfloat16'`` or ``'float16'`` to run it under
            autocast to that type. What is recorded is float32. Defaults to
            None.
        compile (bool or dict): Whether to run it through ``torch.compile``, or
            the arguments for that: ``dict(mode='reduce-overhead')`` saves small
            networks on a GPU the cost of launching each kernel. Defaults to
            False.
        eval_mode (bool): Whether to run it in evaluation mode. mmrazor leaves
            the dropout and the drop path of a frozen teacher on, which makes the
            targets noisy. Only this part changes the training, if the teacher has
            any such layer. Defaults to False.

    Note:
        The weights of the teacher are in memory twice. The teacher runs under
        ``no_grad``: outputs of ``torch.inference_mode`` cannot be saved for the
        student's backward pass, and it is no faster.

    Examples:
        >>> custom_hooks = [dict(type='mmrazor.FrozenTeacherHook', channels_last=True)]
    """

    def __init__(
        self,
        fold_bn: bool = True,
        skip_loss: bool = True,
        channels_last: bool = False,
        dtype: str | None = None,
        compile: bool | dict[str, Any] = False,
        eval_mode: bool = False,
    ) -> None:
        known = dtype in (None, 'bfloat16', 'float16')
        expect(known, f'{_NAME}: dtype', dtype, "None, 'bfloat16' or 'float16'")
        known = isinstance(compile, (bool, dict))
        expect(known, f'{_NAME}: compile', compile, 'True, False or a dict of options')
        self.fold_bn = fold_bn
        self.skip_loss = skip_loss
        self.channels_last = channels_last
        self.dtype = dtype
        self.compile = compile
        self.eval_mode = eval_mode
        for key in ('fold_bn', 'skip_loss', 'channels_last', 'eval_mode'):
            value = getattr(self, key)
            expect(isinstance(value, bool), f'{_NAME}: {key}', value, 'True or False')
        # What runs in the training steps; None outside of training.
        self.frozen: FrozenTeacher | None = None

    def before_train(self, runner: Runner) -> None:
        """Makes sure that the teacher is frozen.

        Args:
            runner (Runner): The runner of the training process.

        Raises:
            ValueError: The algorithm is not supported, its teacher is trained, or a
                part of the hook does not work with its distiller.
        """
        model = expect_frozen_teacher(runner, _NAME)
        deliveries = list(model.distiller.deliveries.deliveries)
        if deliveries:
            expected = f'False beside distiller.distill_deliveries {deliveries}'
            self._expect_none_of(('skip_loss', 'compile'), expected)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Prepares the teacher on the first batch.

        Args:
            runner (Runner): The runner of the training process.
            batch_idx (int): The index of the batch in the epoch.
            data_batch (dict, tuple or list, optional): Data from the data loader.

        Raises:
            ValueError: A part of the hook would change what is recorded.
        """
        if self.frozen is not None:
            return
        model = get_model(runner)
        with keep_random_state():  # The preprocessor may mix batches at random.
            data = model.data_preprocessor(copy.deepcopy(data_batch), training=True)
            # What the teacher's own forward receives, after hooks that change it.
            model.teacher.forward = lambda *batch: batch
            batch = model.teacher(data['inputs'], data.get('data_samples'))
            del model.teacher.forward
        self.frozen = self._prepare(model, batch, runner)
        replace_forward(model, self.frozen)

    def after_train(self, runner: Runner) -> None:
        """Restores the teacher's own ``forward``.

        Args:
            runner (Runner): The runner of the training process.
        """
        if self.frozen is not None:
            restore_forward(get_model(runner))
            self.frozen = None

    def _prepare(self, model: Any, batch: tuple, runner: Runner) -> FrozenTeacher:
        frozen = FrozenTeacher(model.teacher, model.distiller.teacher_recorders)
        if not self.eval_mode:
            with keep_random_state() as has_drawn:
                frozen.record(*batch)
                drawn = has_drawn()
            if drawn:  # These parts would change the random numbers.
                needed = 'eval_mode=True beside it, since the teacher has dropout or drop path'
                self._expect_none_of(('channels_last', 'dtype', 'compile'), needed)
        training = [(module, module.training) for module in frozen.module.modules()]
        frozen.module.eval()
        named = 'one that can be run in evaluation mode, or no such hook'
        with error_context(f'{_NAME}: model.teacher', type(model.teacher).__name__, named):
            expected = frozen.record(*batch)

        def check(key: str) -> None:
            tolerance = HALF_TOLERANCE if frozen.dtype else TOLERANCE
            found = frozen.record(*batch)
            for name, values in expected.items():
                error = difference(found[name], values)
                expect(
                    error <= tolerance,
                    f'{_NAME}: {key}',
                    getattr(self, key),
                    f'that distiller.teacher_recorders.{name} records the same as without it, to '
                    f'{tolerance} of its largest value; the difference is {error:.3g}',
                )

        if self.fold_bn:
            runner.logger.info(f'{_NAME}: folded {frozen.fold_batch_norm(*batch)} batch norms.')
            check('fold_bn')
        if self.skip_loss:
            frozen.mode = 'tensor'
            check('skip_loss')
        if self.channels_last:
            frozen.to_channels_last()
            check('channels_last')
        if self.dtype:
            frozen.to_dtype(getattr(torch, self.dtype))
            check('dtype')
        if self.compile:
            frozen.compile(self.compile if isinstance(self.compile, dict) else {})
            check('compile')
        if not self.eval_mode:
            for module, mode in training:
                module.training = mode
        return frozen

    def _expect_none_of(self, parts: tuple[str, ...], expected: str) -> None:
        for key in parts:
            value = getattr(self, key)
            expect(not value, f'{_NAME}: {key}', value, expected)

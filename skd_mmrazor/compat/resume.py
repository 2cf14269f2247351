"""Resuming runs no code of the checkpoint, and resumes all of the model.

Where a checkpoint has a config as a text, ``meta['config']`` of an old format,
mmengine *executes* it on resuming, to look for the number of GPUs. ``weights_only``
does not help: to it the config is a harmless string.
And as with ``load_from``, weights that do not fit stay random with a warning.
"""

import contextlib
import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.runner import FlexibleRunner, Runner

from .checkpoint_fit import watch_parameters


@functools.cache  # Once, however often it is called.
def resume_safely() -> None:
    """Drops the config of a checkpoint before ``resume`` of a runner sees it.

    With a ``Runner`` every trainable parameter has to be in the checkpoint, and
    every error names the file. A ``FlexibleRunner`` leaves that to its strategy.
    """
    original, flexible = Runner.resume, FlexibleRunner.resume

    @functools.wraps(original)
    def resume(self: Runner, filename: str, *args: Any, **kwargs: Any) -> None:
        get_missing = watch_parameters(self.model)

        def check() -> None:
            parameters = dict(self.model.named_parameters())
            missing = [name for name in get_missing() if parameters[name].requires_grad]
            if missing:
                raise ValueError(f'{len(missing)} parameters do not fit, first {missing[0]!r}')

        try:
            with _dropping_config(self, 'load_checkpoint', check):
                original(self, filename, *args, **kwargs)
        except (OSError, pickle.UnpicklingError):
            raise  # These name the file.
        except Exception as error:
            raise ValueError(
                f'{filename!r} cannot be resumed from, expected a checkpoint of the same config. '
                f'{type(error).__name__}: {error}'
            ) from error

    @functools.wraps(flexible)
    def resume_flexibly(self: FlexibleRunner, *args: Any, **kwargs: Any) -> None:
        with _dropping_config(self.strategy, 'resume'):
            flexible(self, *args, **kwargs)

    Runner.resume = resume
    FlexibleRunner.resume = resume_flexibly


@contextlib.contextmanager
def _dropping_config(
    owner: Any, name: str, check: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Lets a method that loads a checkpoint be checked, and give it without its config."""
    load = getattr(owner, name)

    def load_without_config(*args: Any, **kwargs: Any) -> dict:
        checkpoint = load(*args, **kwargs)
        check()
        checkpoint['meta'].pop('config', None)
        return checkpoint

    setattr(owner, name, load_without_config)
    try:
        yield
    finally:
        delattr(owner, name)

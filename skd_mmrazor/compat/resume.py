"""Resuming runs no code of the checkpoint, and resumes all of the model.

mmengine writes the config into every checkpoint, as a text, and on resuming
*executes* that text, to look for the number of GPUs of a format that it no longer
writes. ``weights_only`` does not help: to it the config is a harmless string.
And as with ``load_from``, weights that do not fit stay random with a warning.
"""

import functools
import pickle
from typing import Any

from mmengine.runner import FlexibleRunner, Runner

from .checkpoint_fit import watch_parameters


@functools.cache  # Once, however often it is called.
def resume_safely() -> None:
    """Drops the config of a checkpoint before ``Runner.resume`` sees it.

    Every trainable parameter has to be in the checkpoint, and every error names
    the file. Of a ``FlexibleRunner`` only the config is dropped: its strategy
    loads the rest.
    """
    original, flexible = Runner.resume, FlexibleRunner.resume

    @functools.wraps(original)
    def resume(self: Runner, filename: str, *args: Any, **kwargs: Any) -> None:
        load = self.load_checkpoint

        def load_checkpoint(*args: Any, **kwargs: Any) -> dict:
            get_missing = watch_parameters(self.model)
            checkpoint = load(*args, **kwargs)
            parameters = dict(self.model.named_parameters())
            missing = [name for name in get_missing() if parameters[name].requires_grad]
            if missing:
                raise ValueError(f'{len(missing)} parameters do not fit, first {missing[0]!r}')
            checkpoint['meta'].pop('config', None)
            return checkpoint

        self.load_checkpoint = load_checkpoint
        try:
            original(self, filename, *args, **kwargs)
        except (OSError, pickle.UnpicklingError):
            raise  # These name the file.
        except Exception as error:
            raise ValueError(
                f'{filename!r} cannot be resumed from, expected a checkpoint of the same config. '
                f'{type(error).__name__}: {error}'
            ) from error
        finally:
            del self.load_checkpoint

    @functools.wraps(flexible)
    def resume_flexibly(self: FlexibleRunner, *args: Any, **kwargs: Any) -> None:
        load = self.strategy.resume

        def resume_strategy(*args: Any, **kwargs: Any) -> dict:
            checkpoint = load(*args, **kwargs)
            checkpoint['meta'].pop('config', None)
            return checkpoint

        self.strategy.resume = resume_strategy
        try:
            flexible(self, *args, **kwargs)
        finally:
            del self.strategy.resume

    Runner.resume = resume
    FlexibleRunner.resume = resume_flexibly

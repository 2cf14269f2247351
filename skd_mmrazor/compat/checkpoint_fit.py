"""A checkpoint of which nothing fits the model is an error, not a warning.

mmengine loads ``load_from`` and ``init_cfg=dict(type='Pretrained')`` with
``strict=False``. Part of a model may so be loaded on purpose. If it is no part at
all, the model stays random and one warning in the log is all that is seen.
"""

import functools
from collections.abc import Callable
from typing import Any

from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import Runner
from torch import nn


@functools.cache  # Once, however often it is called.
def check_checkpoint_fit() -> None:
    """Makes sure that ``load_from`` and ``Pretrained`` load a parameter at least."""
    load_from, pretrained = Runner.load_checkpoint, PretrainedInit.__call__

    @functools.wraps(load_from)
    def load_checkpoint(self: Runner, filename: str, *args: Any, **kwargs: Any) -> dict:
        load = functools.partial(load_from, self, filename, *args, **kwargs)
        return _load(f'load_from={filename!r}', self.model, load)

    @functools.wraps(pretrained)
    def call(self: PretrainedInit, module: nn.Module) -> None:
        load = functools.partial(pretrained, self, module)
        _load(f'init_cfg.checkpoint={self.checkpoint!r}', module, load)

    Runner.load_checkpoint = load_checkpoint
    PretrainedInit.__call__ = call


def watch_parameters(model: nn.Module) -> Callable[[], list[str]]:
    """Starts to watch which parameters a checkpoint is copied into.

    A parameter that was copied into has a new version: whatever prefix the
    checkpoint used, this is what was loaded.

    Args:
        model (nn.Module): The model.

    Returns:
        Callable: Gives the names of those that nothing was copied into.
    """
    before = {name: (p, p._version) for name, p in model.named_parameters()}
    return lambda: [name for name, (p, version) in before.items() if p._version == version]


def _load(key: str, model: nn.Module, load: Callable[[], Any]) -> Any:
    get_missing = watch_parameters(model)
    try:
        checkpoint = load()
    except AssertionError as error:
        raise ValueError(f'{key} does not fit: {error}') from error
    missing, total = get_missing(), len(list(model.parameters()))
    if total and len(missing) == total:
        raise ValueError(
            f'{key} does not fit {type(model).__name__}: none of its {total} parameters was found '
            f'with the right shape, at least one was expected, such as {missing[0]!r}.'
        )
    return checkpoint

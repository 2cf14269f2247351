"""Which parameters and buffers of a model a checkpoint was loaded into."""

import contextlib
import logging
from typing import NoReturn

from mmengine.logging import print_log
from mmengine.runner import load_checkpoint
from torch import Tensor, nn


class LoadedTensors:
    """Watches which parameters and buffers of a model a checkpoint is copied into.

    A tensor that was copied into has a new version. So the prefixes that the
    checkpoint uses, and what the modules rename, need not be known.

    Args:
        model (nn.Module): The model, before the checkpoint is loaded.
        key (str): What to call the checkpoint in errors.
    """

    def __init__(self, model: nn.Module, key: str) -> None:
        self.model = model
        self.key = key
        # Counters of batches are left out, as mmengine does.
        self._before = {
            name: (tensor, tensor._version)
            for name, tensor in model.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor) and not name.endswith('num_batches_tracked')
        }

    def expect_all(self, part: str, prefix: str = '', checkpoint: dict | None = None) -> None:
        """Expects every parameter and buffer to have been loaded.

        Args:
            part (str): What to call them in errors.
            prefix (str): How their names begin. Defaults to all.
            checkpoint (dict, optional): What was loaded, to look for the reason.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        loaded = self._get_loaded(prefix)
        if not all(loaded.values()):
            self._fail(part, prefix, loaded, 'all were expected', checkpoint)

    def expect_some(self, part: str, prefix: str = '', checkpoint: dict | None = None) -> None:
        """Expects some weight of two or more dimensions to have been loaded.

        Args:
            part (str): What to call them in errors.
            prefix (str): How their names begin. Defaults to all.
            checkpoint (dict, optional): What was loaded, to look for the reason.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        loaded = self._get_loaded(prefix)
        weights = [name for name in loaded if self._before[name][0].dim() > 1] or list(loaded)
        if loaded and not any(loaded[name] for name in weights):
            expected = 'some of two or more dimensions were expected'
            self._fail(part, prefix, loaded, expected, checkpoint)
        if not all(loaded.values()):
            fit = f'{sum(loaded.values())} of the {len(loaded)} parameters and buffers'
            name = next(name for name in loaded if not loaded[name])
            message = f'{self.key} fits {fit} of the {part}; the first that does not is {name!r}.'
            print_log(message, 'current', logging.WARNING)

    def _get_loaded(self, prefix: str) -> dict[str, bool]:
        return {
            name: tensor._version > version
            for name, (tensor, version) in self._before.items()
            if name.startswith(prefix)
        }

    def _fail(
        self, part: str, prefix: str, loaded: dict, expected: str, checkpoint: dict | None
    ) -> NoReturn:
        name = next(name for name in loaded if not loaded[name])
        message = (
            f'{self.key} does not fit the {part}: {sum(loaded.values())} of its {len(loaded)} '
            f'parameters and buffers fit, {expected}. The first that does not fit is {name!r}'
        )
        if checkpoint is not None:
            found = get_weights(checkpoint)
            here = tuple(self._before[name][0].shape)
            if isinstance(there := found.get(name), Tensor):
                message += f': {tuple(there.shape)}, not {here}'
            else:
                message += ', which is not in the file' if there is None else ', which is no tensor'
            if prefix and there is None and name.removeprefix(prefix) in found:
                message += f'; its names lack {prefix!r}, as those of a model by itself do'
        raise ValueError(f'{message}.')


def get_weights(checkpoint: dict) -> dict[str, Tensor]:
    """The weights of a checkpoint, without the prefix of DDP.

    Args:
        checkpoint (dict): A checkpoint, or its ``state_dict``.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    return {name.removeprefix('module.'): weight for name, weight in weights.items()}


def load_whole(model: nn.Module, filename: str, part: str = 'model', key: str = '') -> dict:
    """Loads a checkpoint of which every parameter and buffer of a model is expected.

    Args:
        model (nn.Module): The model.
        filename (str): A path or a URL.
        part (str): What to call the model in errors. Defaults to ``'model'``.
        key (str): What to call the checkpoint in errors. Defaults to its name.

    Returns:
        dict: The checkpoint.

    Raises:
        ValueError: It does not fit.
    """
    tensors = LoadedTensors(model, key or repr(str(filename)))
    checkpoint = load_checkpoint(model, str(filename), map_location='cpu')
    tensors.expect_all(f'{part} ({describe(model)})', checkpoint=checkpoint)
    return checkpoint


def load_exactly(model: nn.Module, weights: dict[str, Tensor], part: str, key: str) -> None:
    """Loads weights that are those of a model, no fewer and no more.

    Args:
        model (nn.Module): The model.
        weights (dict[str, Tensor]): By the names of the model.
        part (str): What to call the model in errors.
        key (str): What to call the checkpoint in errors.

    Raises:
        ValueError: They do not fit, or the model has no place for some.
    """
    tensors = LoadedTensors(model, key)
    unused: list[str] = []
    # torch raises for all wrong shapes together, after it has loaded the rest.
    with contextlib.suppress(RuntimeError):
        unused = model.load_state_dict(weights, strict=False).unexpected_keys
    name = f'{part} ({describe(model)})'
    tensors.expect_all(name, checkpoint=weights)
    if unused:
        raise ValueError(
            f'{key} does not fit the {name}: it has {len(unused)} more parameters and buffers. '
            f'The first is {unused[0]!r}.'
        )


def describe(model: nn.Module) -> str:
    """The class of a model, and that of its backbone.

    Args:
        model (nn.Module): The model.
    """
    backbone = getattr(model, 'backbone', None)
    inner = f' with {type(backbone).__name__}' if backbone is not None else ''
    return type(model).__name__ + inner

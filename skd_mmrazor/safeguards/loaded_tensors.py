"""Which parameters and buffers of a model a checkpoint was loaded into."""

import contextlib
import logging

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
        self.key = key
        # Counters of batches are left out, as mmengine does.
        self._before = {
            name: (tensor, tensor._version)
            for name, tensor in model.state_dict(keep_vars=True).items()
            if isinstance(tensor, Tensor) and not name.endswith('num_batches_tracked')
        }

    def expect_fit(
        self, part: str, prefix: str = '', checkpoint: dict | None = None, whole: bool = True
    ) -> None:
        """Expects parameters and buffers to have been loaded.

        Args:
            part (str): What to call them in errors.
            prefix (str): How their names begin. Defaults to all.
            checkpoint (dict, optional): What was loaded, to look for the reason.
            whole (bool): Whether all are expected, or some weight of two or more
                dimensions, and a warning for the others. Defaults to True.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        loaded = {
            name: tensor._version > version
            for name, (tensor, version) in self._before.items()
            if name.startswith(prefix)
        }
        missing = [name for name in loaded if not loaded[name]]
        if not missing:
            return
        count = len(loaded) - len(missing)
        weights = [name for name in loaded if self._before[name][0].dim() > 1] or list(loaded)
        if not whole and any(loaded[name] for name in weights):
            message = (
                f'{self.key} fits {count} of the {len(loaded)} parameters and buffers of the '
                f'{part}; the first that does not is {missing[0]!r}.'
            )
            print_log(message, 'current', logging.WARNING)
            return
        expected = 'all were' if whole else 'some of two or more dimensions were'
        reason = '' if checkpoint is None else self._explain(missing[0], prefix, checkpoint)
        raise ValueError(
            f'{self.key} does not fit the {part}: {count} of its {len(loaded)} parameters and '
            f'buffers fit, {expected} expected. The first that does not fit is {missing[0]!r}'
            f'{reason}.'
        )

    def _explain(self, name: str, prefix: str, checkpoint: dict) -> str:
        found = get_weights(checkpoint)
        there = found.get(name)
        if isinstance(there, Tensor):
            return f': {tuple(there.shape)}, not {tuple(self._before[name][0].shape)}'
        if there is not None:
            return ', which is no tensor'
        is_alone = prefix != '' and name.removeprefix(prefix) in found
        hint = f'; its names lack {prefix!r}, as those of a model by itself do' if is_alone else ''
        return f', which is not in the file{hint}'


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
    tensors.expect_fit(f'{part} ({describe(model)})', checkpoint=checkpoint)
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
    tensors.expect_fit(name, checkpoint=weights)
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

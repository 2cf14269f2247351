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
        self._model = model
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
            part (str): What to call the module that has them in errors.
            prefix (str): Where the module is in the model, with a dot at the end. Defaults to
                the model itself.
            checkpoint (dict, optional): What was loaded, to look for the reason.
            whole (bool): Whether all are expected, or some weight of two or more
                dimensions, and a warning for the others. Defaults to True.

        Raises:
            ValueError: Names the checkpoint, how many fit, and the first that does
                not.
        """
        tensors = {name: pair for name, pair in self._before.items() if name.startswith(prefix)}
        loaded = {name for name, (tensor, version) in tensors.items() if tensor._version > version}
        missing = next((name for name in tensors if name not in loaded), None)
        if missing is None:
            return
        module = describe(self._model.get_submodule(prefix.rstrip('.')))
        expected = 'all were' if whole else 'some of two or more dimensions were'
        message = (
            f'{self.key} does not fit the {part} ({module}): {len(loaded)} of its {len(tensors)} '
            f'parameters and buffers fit, {expected} expected. The first that does not fit is '
            f'{missing!r}{self._explain(missing, prefix, checkpoint)}.'
        )
        weights = {name for name, (tensor, _) in tensors.items() if tensor.dim() > 1}
        if whole or loaded.isdisjoint(weights or tensors):
            raise ValueError(message)
        print_log(message, 'current', logging.WARNING)

    def _explain(self, name: str, prefix: str, checkpoint: dict | None) -> str:
        if checkpoint is None:
            return ''
        weights, own = get_weights(checkpoint), self._before[name][0]
        if name in weights:
            for key in ('shape', 'layout', 'dtype', 'device'):
                found = getattr(weights[name], key, type(weights[name]).__name__)
                if found != getattr(own, key):
                    return f': {key} {found}, not {getattr(own, key)}'
            return ', which is in the file, but was not loaded'
        is_alone = prefix != '' and name.removeprefix(prefix) in weights
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
    tensors.expect_fit(part, checkpoint=checkpoint)
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
    tensors.expect_fit(part, checkpoint=weights)
    if unused:
        raise ValueError(
            f'{key} does not fit the {part} ({describe(model)}): it has {len(unused)} more '
            f'parameters and buffers. The first is {unused[0]!r}.'
        )


def describe(model: nn.Module) -> str:
    """The class of a model, and that of its backbone.

    Args:
        model (nn.Module): The model.
    """
    backbone = getattr(model, 'backbone', None)
    inner = f' with {type(backbone).__name__}' if backbone is not None else ''
    return type(model).__name__ + inner

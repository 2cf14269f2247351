"""A teacher whose checkpoint did not fit is an error, not a warning.

mmrazor loads ``teacher_ckpt`` with ``strict=False``: weights of another
architecture leave the teacher at its random start, one warning in the log is
all that is seen, and the student learns noise.
"""

from typing import Any

from mmengine.runner import load_checkpoint
from torch import nn

from .checkpoint_fit import watch_parameters


def check_teacher_checkpoints() -> None:
    """Puts :func:`load_teacher_checkpoint` in the place of mmengine's loader
    in ``SingleTeacherDistill``, and nowhere else.
    """
    # Not at the top: mmrazor.models can be imported once its quantization is off.
    import mmrazor.models.algorithms.distill.configurable.single_teacher_distill as distill

    distill.load_checkpoint = load_teacher_checkpoint


def load_teacher_checkpoint(model: nn.Module, filename: str, **kwargs: Any) -> dict:
    """Loads a teacher, and makes sure that all of its parameters were loaded.

    Args:
        model (nn.Module): The teacher.
        filename (str): A path or a URL.
        **kwargs: Passed on to :func:`mmengine.runner.load_checkpoint`.

    Returns:
        dict: The checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, holds code, or lacks parameters of
            the teacher.
    """
    key = f'model.teacher_ckpt={filename!r}'
    get_missing = watch_parameters(model)
    try:
        checkpoint = load_checkpoint(model, filename, **kwargs)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{key} does not exist: expected a checkpoint file.') from error
    except Exception as error:
        raise ValueError(
            f'{key} cannot be read: expected a whole checkpoint that holds weights and no code. '
            f'{type(error).__name__}: {error}'
        ) from error
    missing = get_missing()
    if missing:
        total = len(list(model.parameters()))
        raise ValueError(
            f'{key} does not fit the teacher {_describe(model)}: '
            f'{total - len(missing)} of its {total} parameters were found with the '
            f'right shape, all were expected. The first one missing is {missing[0]!r}.'
        )
    return checkpoint


def _describe(model: nn.Module) -> str:
    backbone = getattr(model, 'backbone', None)
    inner = f' with backbone {type(backbone).__name__}' if backbone is not None else ''
    return type(model).__name__ + inner

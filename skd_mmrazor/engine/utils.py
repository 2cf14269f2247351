"""What hooks and loops share."""

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


def get_model(runner: Runner) -> Any:
    """The model of a runner, without the wrapper of distributed training.

    Args:
        runner (Runner): Any runner.

    Returns:
        nn.Module: The model.
    """
    return runner.model.module if is_model_wrapper(runner.model) else runner.model

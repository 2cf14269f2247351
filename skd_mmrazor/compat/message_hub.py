"""Models read the progress of the runner that trains them.

A model asks for the current ``MessageHub``, as mmrazor's ``RuntimeInfo`` does, and
mmengine gives the one that was made last: of two runners that are built before
either trains, the first would train by the progress of the second.
"""

import functools
from typing import Any

from mmengine.logging import MessageHub
from mmengine.runner import FlexibleRunner, Runner


@functools.cache  # Once, however often it is called.
def make_hub_of_training_current() -> None:
    """Makes a runner's hub the current one when it starts to train."""
    for kind in (Runner, FlexibleRunner):
        kind.train = _wrap(kind.train)


def _wrap(train: Any) -> Any:
    @functools.wraps(train)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        MessageHub._instance_dict.move_to_end(self.message_hub.instance_name)
        return train(self, *args, **kwargs)

    return wrapped

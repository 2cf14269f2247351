"""A hook that kills its own process, for the tests of resuming."""

import os
import signal

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillHook(Hook):
    """Sends SIGKILL after an iteration in the middle of an epoch; both count from 1."""

    def __init__(self, epoch, iteration):
        self.at = epoch, iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (runner.epoch + 1, batch_idx + 1) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

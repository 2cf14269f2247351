"""A hook for runs in several processes: each saves the weights it ends with."""

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SaveRanks(Hook):
    def after_train(self, runner):
        path = f'{runner.work_dir}/rank{get_rank()}.pth'
        torch.save(runner.model.module.state_dict(), path)

"""A run that kills itself while it saves: ``killed_run.py WORK_DIR FILE STACK [AFTER]``.

It saves ``epoch_1.pth`` whole; then, once the file AFTER is in place, half of the first
thing that is written to FILE, or nothing of it, where it is removed.
"""

import builtins
import os
import signal
import sys

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner

KEEP_ONE = dict(
    type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='score', rule='greater'
)


class HalfFile:
    """Writes half of what it is given and sends SIGKILL to its process."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def kill_in(name, runner, after=''):
    """Patches ``open`` and ``remove`` for that name, with whatever is appended to it."""

    def is_doomed(path):
        is_ready = runner.epoch > 0 and os.path.exists(os.path.join(runner.work_dir, after))
        return is_ready and os.path.basename(path).startswith(name)

    def killing_open(path, mode='r', *args, **kwargs):
        file = original(path, mode, *args, **kwargs)
        return HalfFile(file) if 'w' in mode and is_doomed(path) else file

    def killing_remove(path):
        if not str(path).endswith('.tmp') and is_doomed(path):
            os.kill(os.getpid(), signal.SIGKILL)
        remove(path)

    original, builtins.open = builtins.open, killing_open
    remove, os.remove = os.remove, killing_remove


class Score(BaseMetric):
    """Two metrics that rise by one with every epoch."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=Score.epoch(), other=Score.epoch())


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        output = self.linear(torch.stack(list(inputs)))
        return dict(loss=output.square().mean()) if mode == 'loss' else [output]


def build(work_dir, max_epochs=2, **arguments):
    def loader():
        return torch.utils.data.DataLoader([dict(inputs=torch.ones(2))] * 4, batch_size=2)

    runner = Runner(
        Model(),
        str(work_dir),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=Evaluator(Score()),
        experiment_name=str(work_dir),
        **{'default_hooks': dict(checkpoint=KEEP_ONE), **arguments},
    )
    Score.epoch = lambda: runner.epoch
    return runner


if __name__ == '__main__':
    if sys.argv[3] == 'plugin':
        import skd_mmrazor.safeguards  # noqa: F401
    runner = build(sys.argv[1])
    kill_in(sys.argv[2], runner, *sys.argv[4:])
    runner.train()

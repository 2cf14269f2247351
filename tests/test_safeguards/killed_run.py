"""A run that kills itself in the middle of a write: ``killed_run.py WORK_DIR FILE``.

It saves ``epoch_1.pth`` whole; then, in its second epoch, half of the first thing
that is written to FILE.
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


def kill_in(name, runner):
    """Patches ``open`` for files of that name, with whatever is appended to it."""

    def killing_open(path, mode='r', *args, **kwargs):
        file = original(path, mode, *args, **kwargs)
        doomed = 'w' in mode and runner.epoch > 0 and os.path.basename(path).startswith(name)
        return HalfFile(file) if doomed else file

    original, builtins.open = builtins.open, killing_open


class Score(BaseMetric):
    """Rises by one with every epoch."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(score=Score.epoch())


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        output = self.linear(torch.stack(list(inputs)))
        return dict(loss=output.square().mean()) if mode == 'loss' else [output]


def build(work_dir, **arguments):
    def loader():
        return torch.utils.data.DataLoader([dict(inputs=torch.ones(2))] * 4, batch_size=2)

    runner = Runner(
        Model(),
        str(work_dir),
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        val_dataloader=loader(),
        val_cfg=dict(),
        val_evaluator=Evaluator(Score()),
        default_hooks=dict(checkpoint=KEEP_ONE),
        experiment_name=str(work_dir),
        **arguments,
    )
    Score.epoch = lambda: runner.epoch
    return runner


if __name__ == '__main__':
    if sys.argv[3] == 'plugin':
        import skd_mmrazor.safeguards  # noqa: F401
    runner = build(sys.argv[1])
    kill_in(sys.argv[2], runner)
    runner.train()

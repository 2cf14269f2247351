"""An epoch of KD and of SKD through mmengine's runner, data loading included.

Example:
    python -m benchmarks.speed.epoch --iterations 200 --repeats 3

ResNet-32x4 → ResNet-8x4 on Glyph100. Epochs are cut to ``--iterations``, so the start of
the workers, once an epoch, takes a larger share than in a whole epoch.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import torch
from mmengine.runner import Runner

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser, run_tool

from .data import cut_epoch, get_times
from .report import get_conditions, write_json
from .runners import frozen_teacher, get_paying_parts, make_runner
from .scenarios import SCENARIOS, load
from .timing import interleave, ratio

BASE = 'mmrazor KD'
# Name, method, data set and the hook of the teacher.
CONTENDERS = {
    BASE: ('kd', 'glyph100', ''),
    'SKD + KD': ('skd_kd', 'glyph100', ''),
    'SKD + KD, images in memory': ('skd_kd', 'glyph100_in_memory', ''),
    'SKD + KD, images in memory, FrozenTeacherHook': ('skd_kd', 'glyph100_in_memory', 'frozen'),
    'SKD + KD, images in memory, StoredTeacherHook': ('skd_kd', 'glyph100_in_memory', 'stored'),
}


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('--iterations', type=int, default=200, help='of an epoch')
    add('--repeats', type=int, default=3, help='epochs of each that are timed, two at least')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--out', type=Path, help='write the results as JSON')
    return parser.parse_args()


def build(name: str, iterations: int, device: str) -> Runner:
    """A contender, ready to train.

    Args:
        name (str): One of ``CONTENDERS``.
        iterations (int): Length of an epoch.
        device (str): Where it trains.
    """
    method, os.environ['CIFAR100_DATASET'], hook = CONTENDERS[name]
    cfg = load(SCENARIOS['cifar'], method)
    if name == BASE:
        # mmrazor has none of this project's hooks, one of which restarts the workers.
        cfg.custom_hooks = []
    cut_epoch(cfg, iterations)
    # The first epoch, which is not timed, stores the only view.
    stored = dict(type='mmrazor.StoredTeacherHook', path=tempfile.mkdtemp(), views=1)
    hooks = dict(frozen=frozen_teacher(get_paying_parts(device).values()), stored=stored)
    return make_runner(cfg, (hooks[hook],) if hook else ())


def main() -> None:
    """Times everything and prints the table as Markdown."""
    args = parse_args()
    runners = {name: build(name, args.iterations, args.device) for name in CONTENDERS}
    epochs = {name: runner.train_loop.run_epoch for name, runner in runners.items()}
    times = interleave(epochs, args.repeats, torch.device(args.device), warmup=1)
    size = args.iterations * runners[BASE].train_dataloader.batch_size
    counted = args.repeats * args.iterations

    print(f'\n| an epoch of {size:,} images | s | images/s | ratio to {BASE} | waiting for data |')
    print('|---|---|---|---|---|')
    waiting = {}
    for name, values in times.items():
        whole, data = (
            sum(get_times(runners[name], key)[-counted:]) for key in ('time', 'data_time')
        )
        waiting[name] = data / whole
        seconds = statistics.median(values) / 1000
        median, low, high = ratio(values, times[BASE])
        print(
            f'| {name} | {seconds:.2f} | {size / seconds:,.0f} '
            f'| {median:.3f} ({low:.3f} to {high:.3f}) | {waiting[name]:.1%} |'
        )
    print(f'\n{get_conditions()}')
    if args.out:
        stem = f'epoch_{torch.device(args.device).type}'
        write_json(args.out, stem, images=size, times=times, waiting=waiting)


if __name__ == '__main__':
    run_tool(main)

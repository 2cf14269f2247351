"""Images per second that a data loader delivers, one by one and in batches held in memory.

Example:
    python -m benchmarks.speed.data --rounds 20 --batches 50
"""

import argparse
import itertools
import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from ..compatibility.run_configs import drop_weights
from .report import get_conditions
from .runners import make_runner
from .timing import interleave, ratio

ROOT = Path(__file__).resolve().parents[2]
# Name, data set of the config and workers.
BASE = 'per image, 2 workers'
CONTENDERS = {
    BASE: ('glyph100', 2),
    'per image, no workers': ('glyph100', 0),
    'in memory': ('glyph100_in_memory', 0),
}
WARMUP = 5


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    default = ROOT / 'configs/cifar100/resnet8x4_240e_cifar100.py'
    add('--config', type=Path, default=default, help='what is trained')
    add('--rounds', type=int, default=20, help='of each contender that are timed')
    add('--batches', type=int, default=50, help='batches a round')
    add('--iterations', type=int, default=100, help='of training, with each; 0 for none')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args()


def load(path: Path, name: str) -> Config:
    """The config on the data set of a contender.

    Args:
        path (Path): The config.
        name (str): One of ``CONTENDERS``.
    """
    os.environ['CIFAR100_DATASET'], workers = CONTENDERS[name]
    cfg = Config.fromfile(path)
    cfg.train_dataloader.num_workers = workers
    # The start of the workers in each epoch is not measured.
    cfg.train_dataloader.persistent_workers = workers > 0
    return cfg


def read(cfg: Config, count: int, device: torch.device) -> Callable[[], None]:
    """Makes a function that loads batches and moves them to the model's device.

    Args:
        cfg (Config): The config, from :func:`load`.
        count (int): Number of batches a call.
        device (torch.device): The device of the model.
    """
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    preprocessor = MODELS.build(cfg.data_preprocessor).to(device)
    batches: Iterator = itertools.chain.from_iterable(itertools.repeat(loader))

    def call() -> None:
        for batch in itertools.islice(batches, count):
            preprocessor(batch, training=True)

    return call


def train(cfg: Config, iterations: int) -> tuple[float, float]:
    """Trains through mmengine's runner, without validation.

    Args:
        cfg (Config): The config, from :func:`load`.
        iterations (int): Length of the training, after a few that do not count.

    Returns:
        tuple[float, float]: Means of mmengine's ``time`` and ``data_time`` of an
        iteration, in milliseconds.
    """
    drop_weights(cfg.model)
    cut_epoch(cfg, WARMUP + iterations)
    runner = make_runner(cfg)
    runner.train_loop.run_epoch()
    time, data_time = (get_times(runner, key)[WARMUP:] for key in ('time', 'data_time'))
    return statistics.fmean(time), statistics.fmean(data_time)


def cut_epoch(cfg: Config, iterations: int) -> None:
    """Makes epochs shorter.

    Args:
        cfg (Config): What is trained. Changed in place.
        iterations (int): Length of an epoch.
    """
    dataset = cfg.train_dataloader.dataset
    size = iterations * cfg.train_dataloader.batch_size
    dataset.get('dataset', dataset).indices = size


def get_times(runner: Runner, key: str) -> list[float]:
    """The times that mmengine measured for each iteration, in milliseconds.

    Args:
        runner (Runner): After training.
        key (str): ``'time'`` or ``'data_time'``.
    """
    times, _ = runner.message_hub.get_scalar(f'train/{key}').data
    return [1000 * float(time) for time in times]


def main() -> None:
    """Times everything and prints the tables as Markdown."""
    args = parse_args()
    device = torch.device(args.device)
    calls = {n: read(load(args.config, n), args.batches, device) for n in CONTENDERS}
    times = interleave(calls, args.rounds, device)
    size = args.batches * load(args.config, BASE).train_dataloader.batch_size

    print(f'\n| {args.rounds} rounds of {size} images | images/s | times faster (quartiles) |')
    print('|---|---|---|')
    for name, values in times.items():
        median, low, high = ratio(times[BASE], values)
        rate = 1000 * size / statistics.median(values)
        print(f'| {name} | {rate:,.0f} | {median:.2f} ({low:.2f} to {high:.2f}) |')

    if args.iterations:
        print(f'\n| {args.config.stem}, an iteration | ms | waiting for data, ms | share |')
        print('|---|---|---|---|')
        for name in track(CONTENDERS, 'trainings'):
            whole, data = train(load(args.config, name), args.iterations)
            print(f'| {name} | {whole:.1f} | {data:.2f} | {data / whole:.1%} |')
    print(f'\n{get_conditions()}')


if __name__ == '__main__':
    run_tool(main)

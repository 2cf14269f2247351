r"""Trains many students of one teacher, with the live teacher and with a shared store.

Example:
    python -m benchmarks.speed.stored_study \
        --teacher work_dirs/resnet14-w16_60e_digits/epoch_60.pth

Each seed is trained by all contenders in turn, so that other work on the machine affects
all of them alike. The time of the first student includes filling the store. That of the
processor leaves out the workers of a data loader.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from mmengine.runner import Runner

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import add_cfg_options, make_parser, output_file, read_config
from skd_mmrazor.utils.progress import track

from ..accuracy import summary
from .report import write_json

BASE = 'live'
# Arguments of the hook, by contender.
CONTENDERS: dict[str, dict | None] = {
    BASE: None,
    'stored': {},
    'stored, float16': dict(dtype='float16'),
    'stored, 8 views': dict(views=8),
    'stored, 2 views': dict(views=2),
    'stored, 1 view': dict(views=1),
    'stored, float16, top 5': dict(dtype='float16', top_k=5),
    'stored, float16, top 3': dict(dtype='float16', top_k=3),
}


class Student(NamedTuple):
    """What is measured of a student.

    Attributes:
        seconds (float): Wall time of the training, validation included.
        accuracy (float): At its end, in percent.
        processor (float): Seconds of the processor in the same time.
    """

    seconds: float
    accuracy: float
    processor: float


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    digits = 'configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py'
    add('--config', default=digits, help='of the students')
    add('--teacher', required=True, help='the checkpoint of the teacher')
    add('--students', type=int, default=8)
    add('--first-seed', type=int, default=0)
    add('--epochs', type=int, default=60, help='of each; schedules are cut with them')
    add('--only', nargs='+', choices=list(CONTENDERS), default=list(CONTENDERS))
    add('--out', type=output_file('.json'), help='write the results there after each seed')
    add_cfg_options(parser)
    return parser.parse_args()


def train(args: argparse.Namespace, name: str, seed: int, stores: Path) -> Student:
    """Trains a student.

    Args:
        args (argparse.Namespace): The command line.
        name (str): One of ``CONTENDERS``.
        seed (int): The seed of the student.
        stores (Path): The folder of the stores.
    """
    cfg, hook = read_config(args.config, args.cfg_options), CONTENDERS[name]
    if hook is not None:
        path = str(stores / name.replace(' ', '-'))
        cfg.custom_hooks = [
            *cfg.custom_hooks,
            dict(hook, type='mmrazor.StoredTeacherHook', path=path),
        ]
    cfg.model.teacher_ckpt = args.teacher
    cfg.train_cfg.update(max_epochs=args.epochs, val_interval=args.epochs)
    cfg.param_scheduler.update(T_max=args.epochs, end=args.epochs)
    cfg.default_hooks.pop('checkpoint')
    cfg.randomness.seed, cfg.log_level = seed, 'ERROR'
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir, cfg.experiment_name = folder, f'{name}-{seed}-{Path(folder).name}'
        runner = Runner.from_cfg(cfg)
        start = time.perf_counter(), time.process_time()
        runner.train()
        seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    accuracy = float(runner.message_hub.get_scalar('val/accuracy/top1').current())
    return Student(seconds, accuracy, processor)


def main() -> None:
    """Trains all students, and prints times and accuracies."""
    args = parse_args()
    found: dict[str, list[Student]] = {name: [] for name in args.only}
    with tempfile.TemporaryDirectory() as stores:
        seeds = range(args.first_seed, args.first_seed + args.students)
        for seed in track(seeds, 'students of each'):
            for name, results in found.items():
                results.append(student := train(args, name, seed, Path(stores)))
                print(
                    f'{name}, seed {seed}: {student.seconds:.1f} s, {student.accuracy:.2f} %',
                    flush=True,
                )
            sizes = {name: _get_size(Path(stores) / name.replace(' ', '-')) for name in found}
            if args.out:
                content = dict(epochs=args.epochs, found=found, sizes=sizes)
                write_json(args.out.parent, args.out.stem, **content)
    for base in (BASE, 'stored'):
        if base in found:
            print('\n' + to_markdown(found, sizes, base))


def to_markdown(found: dict[str, list[Student]], sizes: dict[str, float], base: str) -> str:
    """The table, with the accuracies paired by seed.

    Args:
        found (dict[str, list[Student]]): The students of each contender, by seed.
        sizes (dict[str, float]): MiB of the store.
        base (str): The contender that the others are compared with.
    """
    columns = {'MiB': {name: f'{value:.1f}' for name, value in sizes.items()}}
    for field in ('seconds', 'processor'):
        sums = {name: sum(getattr(s, field) for s in students) for name, students in found.items()}
        columns |= {
            f'{field} of all': {name: f'{value:.0f}' for name, value in sums.items()},
            f'{field} of {base}': {
                name: f'{value / sums[base]:.3f}' for name, value in sums.items()
            },
        }
    values = {
        name: {i: student.accuracy for i, student in enumerate(students)}
        for name, students in found.items()
    }
    return summary.to_markdown(summary.pair(values, base), 'accuracy', columns)


def _get_size(path: Path) -> float:
    return sum(file.stat().st_size for file in path.glob('*')) / 2**20


if __name__ == '__main__':
    main()

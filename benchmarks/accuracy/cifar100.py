r"""The CIFAR-100 benchmark of the distillation literature, with and without SKD.

Trains the teachers, then each pair of networks with each method and seed, one run per
GPU (without a GPU one at a time), and prints a table: the accuracy of the last epoch, by
which configs are compared, that of the best epoch, and the published one. It can be
killed at any time and started again: finished runs are not repeated, others continue.

SKD beside a feature method adds a divergence on the logits. It is compared with the
control that has one too, ``--methods fitnets-kd skd_fitnets``.

Example:
    python -m benchmarks.accuracy.cifar100 --pairs resnet32x4_resnet8x4 \
        --methods kd skd_kd --dry-run
"""

import argparse
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from skd_mmrazor.utils.command_line import make_parser, run_tool, setting
from skd_mmrazor.utils.progress import track

from .controls import CONTROLS
from .published import PUBLISHED
from .runs import ROOT, Run, train_all
from .scalars import read_scalars
from .summary import Row, format_mean, get_machine, plot, summarise, to_markdown, write_csv

CONFIGS = ROOT / 'configs' / 'cifar100'
CONTROL_CONFIGS = ROOT / 'benchmarks' / 'accuracy' / 'configs' / 'cifar100'
SUFFIX = '_240e_cifar100'
# As in configs/_base_/datasets.
DATASETS = [name + how for name in ('cifar100', 'glyph100') for how in ('', '_in_memory')]
PAIRS = sorted(p.stem[3 : -len(SUFFIX)] for p in CONFIGS.glob('kd_*.py'))
METHODS = ['kd', 'skd_kd', 'dkd', 'skd_dkd']
POSITIVE_CONTROLS = ('dkd_', 'kd-standardised_')
METRIC = 'accuracy/top1'


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('--pairs', nargs='+', default=PAIRS, choices=PAIRS, help='default: all', metavar='PAIR')
    add(
        '--methods',
        nargs='+',
        default=METHODS,
        help=f"also 'student' (alone), 'crd', 'crd-kd', 'skd_crd', {', '.join(CONTROLS)} …",
    )
    add('--seeds', type=int, default=3, help='seeds 0 to SEEDS - 1')
    add('--dataset', choices=DATASETS, default='cifar100')
    add('--epochs', type=int, default=240, help='all milestones are scaled with them')
    add('--teachers', type=Path, help='checkpoints NETWORK.pth, in the place of training them')
    add('--store', type=Path, help='store the logits of each teacher there, once for all students')
    add('--gpus', nargs='+', help='default: all', default=_get_gpus())
    add('--work-dir', type=Path, help='default: work_dirs/benchmark_DATASET_EPOCHSe')
    add('--cfg-options', nargs='+', type=setting, default=[], help='overrides of every config, K=V')
    add('--dry-run', action='store_true', help='print the commands and what they cost, and stop')
    args = parser.parse_args()
    args.work_dir = args.work_dir or Path(f'work_dirs/benchmark_{args.dataset}_{args.epochs}e')
    for pair in args.pairs:
        for name in (_get_config(pair, method) for method in args.methods):
            if not name.exists():
                parser.error(f'--methods: there is no {name.relative_to(ROOT)}')
    return args


def _get_gpus() -> list[str]:
    # Without a GPU one run at a time, which sees none.
    return [str(i) for i in range(torch.cuda.device_count())] or ['']


def _get_config(pair: str, method: str) -> Path:
    method, _ = CONTROLS.get(method, (method, ()))
    name = pair.split('_')[1] if method == 'student' else f'{method}_{pair}'
    control = CONTROL_CONFIGS / f'{name}{SUFFIX}.py'
    return control if control.exists() else CONFIGS / control.name


def _get_hook(path: Path) -> tuple[str, ...]:
    hook = 'default_hooks.stored_teacher'
    return f'{hook}.type=mmrazor.StoredTeacherHook', f'{hook}.path={path}'


def plan(args: argparse.Namespace) -> tuple[list[Run], list[Run]]:
    """The runs of a command line.

    Args:
        args (argparse.Namespace): The command line.

    Returns:
        tuple[list[Run], list[Run]]: Those of the teachers, which are trained first, and
        all others, seed by seed.
    """
    env = {'CIFAR100_DATASET': args.dataset, 'CIFAR100_EPOCHS': str(args.epochs)}
    options = tuple(args.cfg_options)
    teachers, checkpoints, stores = {}, {}, {}
    for name in sorted({pair.split('_')[0] for pair in args.pairs}):
        run = Run(CONFIGS / f'{name}{SUFFIX}.py', 0, args.work_dir / 'teachers', options, env)
        stores[name] = _get_hook(args.store / name) if args.store else ()
        if args.teachers:
            checkpoints[name] = args.teachers / f'{name}.pth'
        else:
            teachers[name] = run
            checkpoints[name] = run.work_dir / f'epoch_{args.epochs}.pth'
    students = {}
    for seed in range(args.seeds):
        for pair in args.pairs:
            for method in args.methods:
                teacher = pair.split('_')[0]
                more = (f'model.teacher_ckpt={checkpoints[teacher]}', *stores[teacher])
                config = _get_config(pair, method)
                more = () if method == 'student' else more
                _, settings = CONTROLS.get(method, ('', ()))
                alias = f'{method}_{pair}{SUFFIX}' if settings else ''
                overrides = (*options, *more, *settings)
                run = Run(config, seed, args.work_dir, overrides, env, alias)
                students[run.work_dir] = run  # Once, though pairs share a student.
    return list(teachers.values()), list(students.values())


def get_control(name: str) -> str:
    """The config that a config is compared with: the same losses without SKD.

    The positive controls, which are better losses than KD's, are compared with KD.

    Args:
        name (str): The name of the config.
    """
    method, networks = name.removeprefix('skd_').split('_', 1)
    if name.startswith(POSITIVE_CONTROLS):
        method = 'kd'
    elif f'skd_{method}' in CONTROLS:
        method = method.split('-')[0]
    plain = f'{method}_{networks}'
    control = f'{method}-kd_{networks}'
    added = plain != name and (CONFIGS / f'{control}.py').exists()
    return control if added else plain


def get_columns(runs: list[Run]) -> dict[str, dict[str, str]]:
    """The accuracy of the best epoch, the published one, and the time of a step and of a run.

    Args:
        runs (list[Run]): The runs.
    """
    best: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    hours: dict[str, list[float]] = {}
    for run in runs:
        scalars = read_scalars(run.work_dir)
        found = [r[METRIC] for r in scalars['val'] if METRIC in r]
        found_times = [r['time'] for r in scalars['train']]
        times.setdefault(run.name, []).extend(1000 * time for time in found_times)
        if found_times:
            steps = max(r['step'] for r in scalars['train'])
            hours.setdefault(run.name, []).append(np.mean(found_times) * steps / 3600)
        if run.result is not None and found:
            best.setdefault(run.name, []).append(max(found))
    names = {
        run.name: run.name.removesuffix(SUFFIX)
        for run in runs
        if run.env.get('CIFAR100_DATASET', 'cifar100').startswith('cifar100')
    }
    return {
        'best epoch': {name: format_mean(values) for name, values in best.items()},
        'published': {name: PUBLISHED.get(short, '') for name, short in names.items()},
        'ms a step': {name: f'{np.median(each):.0f}' for name, each in times.items() if each},
        'hours a run': {name: f'{np.mean(each):.2f}' for name, each in hours.items()},
    }


def judge(rows: list[Row]) -> str:
    """Says where the positive controls are not better than KD.

    Args:
        rows (list[Row]): The rows of the table.
    """
    controls = [row for row in rows if row.name.startswith(POSITIVE_CONTROLS) and row.base]
    if not controls and any(row.name.startswith('skd_') for row in rows):
        return 'No positive control was run, so nothing can be read from SKD: --methods kd dkd.'
    return '\n'.join(
        f'{row.name} is not shown to be better than KD here, so nothing can be read from SKD + KD.'
        for row in controls
        if not row.paired.mean() - row.half > 0
    )


def print_cost(runs: list[Run], args: argparse.Namespace) -> None:
    """Measures each config once, and prints the cost of the unfinished runs.

    Args:
        runs (list[Run]): All runs.
        args (argparse.Namespace): The command line.
    """
    from .cost import measure  # It builds models.

    count = Counter(run.name for run in runs if run.result is None)
    runs_by_name = {run.name: run for run in runs}
    unit = 'GPU' if args.gpus != [''] else 'CPU'
    hours = megabytes = 0.0
    print(f'\n| config | runs | ms a step | {unit} hours each | MB each |\n' + '|---' * 5 + '|')
    for name, number in track(count.items(), 'configs', len(count)):
        cost = measure(runs_by_name[name])
        each = cost.hours(args.epochs)
        cells = name, number, f'{cost.step:.1f}', f'{each:.2f}', f'{cost.megabytes:.0f}'
        print(f'| {" | ".join(map(str, cells))} |', flush=True)
        hours += number * each
        megabytes += number * cost.megabytes
    print(
        f'\n{count.total()} runs: {hours:.1f} {unit} hours, {hours / len(args.gpus):.1f} hours on '
        f'{len(args.gpus)} at once, and {megabytes / 1000:.2f} GB of checkpoints; by steps on '
        f'random images, with the live teacher, without the reading of images. Of {args.epochs} '
        f'epochs, each takes {hours / args.epochs:.2f} hours. {get_machine()}'
    )


def main() -> None:
    """Runs everything; writes ``results.md``, ``.csv`` and ``.png`` to the work dir."""
    args = parse_args()
    teachers, students = plan(args)
    if args.dry_run:
        for run in teachers + students:
            env = ' '.join(f'{key}={value}' for key, value in run.env.items())
            print(env, shlex.join(run.command('train', '--resume')), flush=True)
        print_cost(teachers + students, args)
        return
    failed = train_all(teachers, args.gpus)
    if failed:
        raise SystemExit(f'{len(failed)} of {len(teachers)} teachers failed.')
    failed = train_all(students, args.gpus)
    rows = summarise(teachers + students, METRIC, get_control)
    table = to_markdown(rows, METRIC, get_columns(teachers + students))
    table = f'{table}\n\n{judge(rows)}'.rstrip()
    print('\n' + table)
    (args.work_dir / 'results.md').write_text(table + '\n')
    write_csv(rows, args.work_dir / 'results.csv')
    plot(rows, METRIC, args.work_dir / 'results.png')
    if failed:
        raise SystemExit(f'{len(failed)} of {len(students)} runs failed.')


if __name__ == '__main__':
    run_tool(main)

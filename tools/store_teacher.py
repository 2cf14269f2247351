r"""Store the logits of a teacher for a StoredTeacherHook, without training.

Runs on all local GPUs, or on the CPU. It may be stopped and started again, and may run
beside trainings that use the same store.

Example:
    python tools/store_teacher.py configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py \
        --path teacher_store --views 8
"""

import argparse
import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from rich.progress import Progress

import skd_mmrazor.safeguards  # noqa: F401  (before any config is parsed)
from skd_mmrazor.utils import expect
from skd_mmrazor.utils.command_line import add_cfg_options, make_parser, read_config, run_tool
from skd_mmrazor.utils.progress import make_columns

HOOK = 'mmrazor.StoredTeacherHook'
# Draws images of the validation, which storing leaves out.
DRAWING_HOOK = 'mmrazor.SimplifierVisualizationHook'


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('config', help='train config file path')
    add('--path', help='the folder of the store, for a config without a StoredTeacherHook')
    add('--views', type=int, help='views to store; default: those of the hook, or all epochs')
    processes = max(torch.cuda.device_count(), 1)
    add('--processes', type=int, default=processes, help='default: one for each GPU')
    add_cfg_options(parser)
    args = parser.parse_args()
    for key in ('views', 'processes'):
        value = getattr(args, key)
        if value is not None and value < 1:
            parser.error(f'--{key} {value}, expected at least 1.')
    return args


def load_config(args: argparse.Namespace, part: int) -> Config:
    """Reads the config, and replaces the training by storing.

    Args:
        args (argparse.Namespace): The command line.
        part (int): The part of the images that is to be stored, of ``--processes``.
    """
    cfg = read_config(args.config, args.cfg_options)
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if not _is_a(hook, DRAWING_HOOK)]
    if args.path:
        cfg.custom_hooks.append(dict(type=HOOK, path=args.path))
    hooks = [hook for hook in cfg.custom_hooks if _is_a(hook, HOOK)]
    if len(hooks) != 1:
        raise SystemExit(f'custom_hooks: {len(hooks)} of {HOOK}, expected 1, or none and --path.')
    train_cfg = cfg.get('train_cfg') or {}
    views = args.views or hooks[0].get('views') or train_cfg.get('max_epochs')
    expect(views, 'train_cfg.max_epochs', views, 'a number of epochs, or --views')
    for key in ('val', 'test'):
        for name in ('dataloader', 'evaluator', 'cfg'):
            cfg.pop(f'{key}_{name}', None)
    loop = dict(type='mmrazor.StoreTeacherLoop', max_epochs=views)
    cfg.train_cfg = dict(loop, part=part, parts=args.processes)
    cfg.log_level, cfg.resume, cfg.launcher = 'WARNING', False, 'none'
    return cfg


def _is_a(hook: ConfigDict, name: str) -> bool:
    kind = hook.get('type', '')
    return getattr(kind, '__name__', kind).split('.')[-1] == name.split('.')[-1]


def store(args: argparse.Namespace, part: int, report: Callable[[int, int], Any]) -> None:
    """Stores a part of the images.

    Args:
        args (argparse.Namespace): The command line.
        part (int): Which part.
        report (Callable): Called with the number of images that are stored, and the total.
    """
    cfg = load_config(args, part)
    if torch.cuda.is_available():
        torch.cuda.set_device(part % torch.cuda.device_count())
    with tempfile.TemporaryDirectory() as folder:
        cfg.work_dir, cfg.experiment_name = folder, Path(folder).name
        runner = Runner.from_cfg(cfg)
        runner.train_loop.report = report
        runner.train()


def _store(args: argparse.Namespace, part: int, stored: Any, totals: Any) -> None:
    parent = multiprocessing.parent_process()

    def report(images: int, total: int) -> None:
        stored[part], totals[part] = images, total
        if parent is not None and not parent.is_alive():
            raise SystemExit('The process that started this one has ended.')

    with contextlib.suppress(KeyboardInterrupt):  # The parent says what it means.
        run_tool(partial(store, args, part, report))


def store_in_processes(args: argparse.Namespace, report: Callable[[int, int], Any]) -> None:
    """Stores everything, in several processes.

    Args:
        args (argparse.Namespace): The command line.
        report (Callable): Called with the number of images that are stored, and the total.

    Raises:
        SystemExit: A process failed.
    """
    spawn = multiprocessing.get_context('spawn')
    stored, totals = (spawn.Array('q', args.processes) for _ in range(2))
    processes = [
        spawn.Process(target=_store, args=(args, part, stored, totals), daemon=False)
        for part in range(args.processes)
    ]
    for process in processes:
        process.start()
    running = {process.sentinel for process in processes}
    while running:
        running -= set(wait(running, timeout=0.5))
        report(sum(stored), sum(totals))
    for process in processes:
        process.join()  # Those that have just ended have no exit code yet.
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed:
        raise SystemExit(
            f'{len(failed)} of {args.processes} processes failed; what is above says why.'
        )


def main() -> None:
    """Stores everything and shows the progress."""
    args = parse_args()
    # So that a mistake in the config ends it here, before processes are started.
    load_config(args, 0)
    with Progress(*make_columns()) as progress:
        task = progress.add_task('teacher', total=None)

        def report(images: int, total: int) -> None:
            progress.update(task, completed=images, total=total or None)

        run = partial(store, part=0) if args.processes == 1 else store_in_processes
        try:
            run(args, report=report)
        except KeyboardInterrupt:
            raise SystemExit('Stopped. The same command goes on from here.') from None


if __name__ == '__main__':
    run_tool(main)

"""Trains configs over seeds, each once, on as many devices as there are."""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import skd_mmrazor.safeguards  # noqa: F401  (before any config is parsed)
from skd_mmrazor.utils import error_context
from skd_mmrazor.utils.command_line import read_config, setting
from skd_mmrazor.utils.files import write_beside
from skd_mmrazor.utils.progress import make_bar
from skd_mmrazor.utils.scalars import read_scalars

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Run:
    """A training of a config with a seed.

    Attributes:
        config (Path): The config file.
        seed (int): The seed of everything random in the run.
        folder (Path): Where all runs are; this one's is ``folder/name/seedN``.
        options (tuple[str]): Overrides of the config, ``key=value``.
        env (dict[str, str]): Environment variables that the config reads.
        alias (str): The name, where it is not that of the config.
    """

    config: Path
    seed: int
    folder: Path
    options: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    alias: str = ''

    @property
    def name(self) -> str:
        """What the results of the config and its options are called."""
        return self.alias or self.config.stem

    @property
    def work_dir(self) -> Path:
        """Folder of checkpoints, logs and the result."""
        return self.folder / self.name / f'seed{self.seed}'

    @property
    def result(self) -> dict | None:
        """The metrics of the last validation, once the run has finished."""
        path = self.work_dir / 'result.json'
        return _read_json(path) if path.exists() else None

    @property
    def environment(self) -> dict[str, str]:
        """All environment variables of the run."""
        # A config may import from benchmarks.
        paths = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
        return {**os.environ, 'PYTHONPATH': paths, **self.env}

    @property
    def settings(self) -> dict:
        """The settings that determine the run beside its config and its seed."""
        env = sorted(self.environment.items())
        read = {key: value for key, value in env if key.startswith(('CIFAR100_', 'STUDY_'))}
        return dict(options=list(self.options), env=read, models=_hash_models())

    def command(self, tool: str = 'train', *arguments: str) -> list[str]:
        """The command line of the run.

        Args:
            tool (str): ``'train'`` or ``'test'``.
            *arguments (str): Further arguments of that tool.
        """
        script = str(ROOT / 'tools' / f'{tool}.py')
        options = [f'randomness.seed={self.seed}', *self.options]
        paths = [str(self.config), *arguments, '--work-dir', str(self.work_dir)]
        return [sys.executable, script, *paths, '--cfg-options', *options]

    def __str__(self) -> str:
        return f'{self.name}, seed {self.seed}'


def add_arguments(parser: argparse.ArgumentParser, work_dir: Path) -> None:
    """Adds the arguments that all commands that train configs over seeds share.

    Args:
        parser (ArgumentParser): The parser of the command.
        work_dir (Path): The default of ``--work-dir``.
    """
    parser.add_argument('--seeds', type=_positive, default=5, help='seeds 0 to SEEDS - 1')
    parser.add_argument('--work-dir', type=Path, default=work_dir)
    parser.add_argument('--metric', default='accuracy/top1')
    parser.add_argument(
        '--jobs',
        type=_positive,
        default=1,
        help='runs at a time, on the CPU, of one thread each where several',
    )
    parser.add_argument('--cfg-options', nargs='+', type=setting, default=[])


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f'{text!r}, expected an integer > 0')
    return int(text)


def make_runs(configs: Sequence[Path], args: argparse.Namespace) -> list[Run]:
    """The runs of a command, all configs of a seed before the next seed.

    Args:
        configs (Sequence[Path]): The config files.
        args (argparse.Namespace): With the arguments of :func:`add_arguments`.

    Raises:
        SystemExit: Two configs have the same name, and so the same folder.
        ValueError: A config cannot be read.
    """
    for config in configs:
        read_config(config)
    names = [config.stem for config in configs]
    if len(set(names)) < len(names):
        raise SystemExit(f'configs: {names}, expected a name of its own for each.')
    # With more threads than cores, parallel runs would slow one another down.
    env = {'OMP_NUM_THREADS': '1'} if args.jobs > 1 else {}
    return [
        Run(config, seed, args.work_dir, tuple(args.cfg_options), env)
        for seed in range(args.seeds)
        for config in configs
    ]


def train_all(runs: list[Run], devices: list[str]) -> list[Run]:
    """Trains the runs that have not finished, one per device at a time.

    A run that was killed resumes from its last checkpoint. One that fails does
    not stop the others. Ending this process ends the runs.

    Args:
        runs (list[Run]): All runs.
        devices (list[str]): The ``CUDA_VISIBLE_DEVICES`` of each simultaneous run; an
            empty one trains on the CPU.

    Returns:
        list[Run]: Those that failed.

    Raises:
        SystemExit: A run was started before with other options.
    """
    for run in runs:
        _check_settings(run)
    waiting = [run for run in runs if run.result is None]
    done, total = len(runs) - len(waiting), len(runs)
    free, active, failed = list(devices), {}, []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(make_bar())
        stack.callback(lambda: [process.terminate() for process in active])
        task = bar.add_task('runs', total=len(waiting))
        while waiting or active:
            while waiting and free:
                run, device = waiting.pop(0), free.pop(0)
                print(f'[{done}/{total}] {run}: starts', flush=True)
                active[_start(run, device)] = run, device, time.time()
            bar.refresh()
            time.sleep(0.5)
            for process in [p for p in active if p.poll() is not None]:
                run, device, start = active.pop(process)
                free.append(device)
                done += 1
                bar.advance(task)
                if process.returncode == 0:
                    _write_result(run, device)
                    said = f'done in {(time.time() - start) / 60:.1f} min'
                else:
                    failed.append(run)
                    said = f'FAILED, see {run.work_dir}/train.log'
                print(f'[{done}/{total}] {run}: {said}', flush=True)
    return failed


@functools.cache
def _hash_models() -> str:
    """Identifies the version of the method that a result belongs to."""
    files = sorted((ROOT / 'skd_mmrazor' / 'models').rglob('*.py'))
    return hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()[:8]


def _read_json(path: Path) -> dict:
    with error_context('file', str(path), 'what a run has written there; remove the file'):
        return json.loads(path.read_text())


def _check_settings(run: Run) -> None:
    path = run.work_dir / 'settings.json'
    if path.exists() and (found := _read_json(path)) != run.settings:
        raise SystemExit(
            f'--work-dir: {run.work_dir} has a run with {found}, expected {run.settings}. '
            'Give each setting a work directory of its own.'
        )


def _start(run: Run, device: str) -> subprocess.Popen:
    run.work_dir.mkdir(parents=True, exist_ok=True)
    log = open(run.work_dir / 'train.log', 'a')  # noqa: SIM115 (the child writes to it)
    # The child inherits the lock, so it is held even if the parent is killed.
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SystemExit(f'{run.work_dir} is being trained by another process.') from error
    with write_beside(run.work_dir / 'settings.json') as part:
        Path(part).write_text(json.dumps(run.settings))
    return subprocess.Popen(
        run.command('train', '--resume'), stdout=log, stderr=log, env=_environment(run, device)
    )


def _environment(run: Run, device: str) -> dict[str, str]:
    return {**run.environment, 'CUDA_VISIBLE_DEVICES': device}


def _write_result(run: Run, device: str) -> None:
    checkpoint = Path((run.work_dir / 'last_checkpoint').read_text().strip())
    epoch = int(re.findall(r'\d+', checkpoint.stem)[-1])
    found = [r for r in read_scalars(run.work_dir)['val'] if r['step'] == epoch]
    if not found:
        # Killed after its last checkpoint, before its last validation.
        command = run.command('test', str(checkpoint))
        subprocess.run(command, check=True, env=_environment(run, device), capture_output=True)
        found = [json.loads(max(run.work_dir.glob('*/*.json')).read_text())]
    with write_beside(run.work_dir / 'result.json') as part:
        Path(part).write_text(json.dumps(found[-1]))

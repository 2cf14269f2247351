"""Train configs over seeds and compare their accuracy, paired by seed.

A finished run is not repeated, so the command can be killed and started again.
The table gives mean ± standard deviation of the last epoch's top-1, and for
each ``skd_x`` the paired difference to ``x``, if both are given,
with its 95 % interval (Student's t).

Usage:
    python benchmarks/accuracy/compare.py CONFIG [CONFIG ...] --seeds 5
        [--work-dir DIR] [--out FILE] [--cfg-options K=V ...]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent.parent


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--seeds', type=int, default=5, help='seeds 0 to SEEDS - 1')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/compare'))
    parser.add_argument('--metric', default='accuracy/top1')
    parser.add_argument('--out', type=Path, help='write the results as JSON')
    parser.add_argument('--cfg-options', nargs='+', default=[])
    return parser.parse_args()


def run(config: Path, seed: int, args: argparse.Namespace) -> float:
    """Trains once, or reads the result of a run that has finished.

    Args:
        config (Path): The config file.
        seed (int): The seed of everything random in the run.
        args (argparse.Namespace): The command line.

    Returns:
        float: The metric after the last epoch.
    """
    work_dir = args.work_dir / config.stem / f'seed{seed}'
    done = work_dir / 'result.json'
    if not done.exists():
        print(f'{config.stem}, seed {seed}', flush=True)
        command = [sys.executable, str(ROOT / 'tools' / 'train.py'), str(config), '--resume']
        options = [f'randomness.seed={seed}', *args.cfg_options]
        work_dir.mkdir(parents=True, exist_ok=True)
        with open(work_dir / 'train.log', 'w') as log:
            subprocess.run(
                [*command, '--work-dir', str(work_dir), '--cfg-options', *options],
                check=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        scalars = max(work_dir.glob('*/vis_data/scalars.json'))
        records = [json.loads(line) for line in scalars.read_text().splitlines()]
        last = [record for record in records if args.metric in record][-1]
        done.write_text(json.dumps(last))
    return json.loads(done.read_text())[args.metric]


def base_of(name: str, names: list[str]) -> str | None:
    """The config without SKD: ``skd_kd_x`` is compared with ``kd_x``."""
    base = name.removeprefix('skd_')
    return base if base != name and base in names else None


def difference(values: np.ndarray, base: np.ndarray) -> str:
    """The mean paired difference with its 95 % interval."""
    paired = values - base
    if len(paired) < 2:
        return f'{paired.mean():+.2f}'
    half = stats.t.ppf(0.975, len(paired) - 1) * stats.sem(paired)
    return f'{paired.mean():+.2f} [{paired.mean() - half:+.2f}, {paired.mean() + half:+.2f}]'


def main() -> None:
    """Runs everything and prints the table as Markdown."""
    args = parse_args()
    results = {
        config.stem: np.array([run(config, seed, args) for seed in range(args.seeds)])
        for config in args.configs
    }
    print(f'\n| config | {args.metric}, {args.seeds} seeds | minus the same without SKD, 95 % |')
    print('|---|---|---|')
    for name, values in results.items():
        base = base_of(name, list(results))
        spread = f' ± {values.std(ddof=1):.2f}' if len(values) > 1 else ''
        paired = difference(values, results[base]) if base else ''
        print(f'| {name} | {values.mean():.2f}{spread} | {paired} |')
    machine = f'{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}'
    print(f'\n{machine}')
    if args.out:
        content = dict(machine=machine, results={k: v.tolist() for k, v in results.items()})
        args.out.write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()

"""Means, and differences that are paired by seed: as a table, CSV and a plot."""

import csv
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import mmengine
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from .runs import Run


@dataclass
class Row:
    """A config over its seeds.

    Attributes:
        name (str): The config.
        values (dict[int, float]): The metric by seed.
        base (str): The config that it is compared with, or ''.
        paired (np.ndarray): The differences to it, by common seed.
    """

    name: str
    values: dict[int, float]
    base: str
    paired: np.ndarray

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; NaN of one."""
        values = list(self.values.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')

    @property
    def half(self) -> float:
        """Half of the 95 % interval of the mean difference (Student's t)."""
        n = len(self.paired)
        return float(stats.t.ppf(0.975, n - 1) * stats.sem(self.paired)) if n > 1 else float('nan')


def summarise(runs: list[Run], metric: str, base: str | None = None) -> list[Row]:
    """Collects the results of runs.

    ``skd_x`` is compared with ``x``, or all configs with one.

    Args:
        runs (list[Run]): The runs; those without a result are left out.
        metric (str): Such as ``'accuracy/top1'``.
        base (str, optional): Name of the one. Defaults to None.

    Returns:
        list[Row]: For each config one, in the order of the runs.
    """
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.result is not None:
            values.setdefault(run.config.stem, {})[run.seed] = run.result[metric]
    return pair(values, base)


def pair(values: dict[str, dict[int, float]], base: str | None = None) -> list[Row]:
    """Pairs values by seed.

    Args:
        values (dict[str, dict[int, float]]): By name and seed.
        base (str, optional): As of :func:`summarise`. Defaults to None.

    Returns:
        list[Row]: For each name one, in their order.
    """
    rows = []
    for name, mine in values.items():
        other = base or name.removeprefix('skd_')
        theirs = values.get(other, {}) if other != name else {}
        paired = np.array([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
        rows.append(Row(name, mine, other if len(paired) else '', paired))
    return rows


def get_machine() -> str:
    """What a number in a table was measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    versions = f'torch {torch.__version__}, mmengine {mmengine.__version__}'
    return f'{device}, {os.cpu_count()} cores, {versions}'


def to_markdown(rows: list[Row], metric: str) -> str:
    """The table, with the machine below it."""
    lines = [
        f'| config | {metric} | seeds | minus {_get_base(rows)}, 95 % |',
        '|---|---|---|---|',
    ]
    for row in rows:
        values = list(row.values.values())
        spread = '' if np.isnan(row.spread) else f' ± {row.spread:.2f}'
        interval = ''
        if row.base:
            mean, half = row.paired.mean(), row.half
            interval = f'{mean:+.2f}'
            interval += '' if np.isnan(half) else f' [{mean - half:+.2f}, {mean + half:+.2f}]'
        lines.append(f'| {row.name} | {np.mean(values):.2f}{spread} | {len(values)} | {interval} |')
    return '\n'.join([*lines, '', get_machine()])


def _get_base(rows: list[Row]) -> str:
    bases = {row.base for row in rows} - {''}
    return bases.pop() if len(bases) == 1 else 'the same without SKD'


def write_csv(rows: list[Row], path: Path) -> None:
    """Writes every single result: config, seed, value."""
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['config', 'seed', 'value'])
        writer.writerows([row.name, s, v] for row in rows for s, v in row.values.items())


def plot(rows: list[Row], metric: str, path: Path) -> None:
    """Draws the paired differences with their intervals."""
    rows = [row for row in rows if row.base][::-1]
    figure = Figure(figsize=(8, 1.2 + 0.32 * len(rows)), layout='constrained')
    axes = figure.subplots()
    axes.axvline(0, color='0.6', linewidth=1)
    means = [row.paired.mean() for row in rows]
    halves = [0 if np.isnan(row.half) else row.half for row in rows]
    axes.errorbar(means, range(len(rows)), xerr=halves, fmt='o', color='#1f4e79', capsize=3)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(f'{metric}: minus {_get_base(rows)}, mean and 95 % interval')
    figure.savefig(path, dpi=150)

"""Means, and differences that are paired by seed: as a table, CSV and a plot."""

import csv
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import mmengine
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats

from skd_mmrazor.utils.files import write_beside

from .runs import Run

Base = str | Callable[[str], str] | None


@dataclass
class Row:
    """A config over its seeds.

    Attributes:
        name (str): The config.
        values (dict[int, float]): The metric by seed.
        base (str): The config that it is compared with, or ''.
        paired (np.ndarray): The differences to it, for each common seed.
    """

    name: str
    values: dict[int, float]
    base: str
    paired: np.ndarray

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; NaN for a single seed."""
        values = list(self.values.values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')

    @property
    def half(self) -> float:
        """Half of the 95 % interval of the mean difference (Student's t)."""
        n = len(self.paired)
        return float(stats.t.ppf(0.975, n - 1) * stats.sem(self.paired)) if n > 1 else float('nan')


def summarise(runs: list[Run], metric: str, base: Base = None) -> list[Row]:
    """Collects the results of runs.

    ``skd_x`` is compared with ``x``, or all configs with one.

    Args:
        runs (list[Run]): The runs; those without a result are left out.
        metric (str): The metric, such as ``'accuracy/top1'``.
        base (str or Callable, optional): The name of that one config, or a function from
            the name of a config to that of its base. Defaults to None.

    Returns:
        list[Row]: One for each config, in the order of the runs.
    """
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        if run.result is not None:
            values.setdefault(run.name, {})[run.seed] = run.result[metric]
    return pair(values, base)


def pair(values: dict[str, dict[int, float]], base: Base = None) -> list[Row]:
    """Pairs values by seed.

    Args:
        values (dict[str, dict[int, float]]): By name and seed.
        base (str or Callable, optional): As in :func:`summarise`. Defaults to None.

    Returns:
        list[Row]: One for each name, in their order.
    """
    rows = []
    for name, mine in values.items():
        other = base(name) if callable(base) else base or name.removeprefix('skd_')
        theirs = values.get(other, {}) if other != name else {}
        paired = np.array([mine[seed] - theirs[seed] for seed in mine if seed in theirs])
        rows.append(Row(name, mine, other if len(paired) else '', paired))
    return rows


def get_machine() -> str:
    """The machine and the versions that a table was measured with."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    versions = f'torch {torch.__version__}, mmengine {mmengine.__version__}'
    return f'{device}, {os.cpu_count()} cores, {versions}'


def format_mean(values: Iterable[float]) -> str:
    """The mean, and the standard deviation if there are several values."""
    values = list(values)
    spread = f' ± {np.std(values, ddof=1):.2f}' if len(values) > 1 else ''
    return f'{np.mean(values):.2f}{spread}' if values else ''


def to_markdown(
    rows: list[Row], metric: str, columns: dict[str, dict[str, str]] | None = None
) -> str:
    """The table, with the machine below it.

    Args:
        rows (list[Row]): The rows.
        metric (str): Its name.
        columns (dict[str, dict[str, str]], optional): Further columns by their head: cells
            by config. Defaults to None.
    """
    columns = columns or {}
    heads = ['config', metric, 'seeds', f'minus {_get_base(rows)}, 95 %', *columns]
    lines = [f'| {" | ".join(heads)} |', '|---' * len(heads) + '|']
    for row in rows:
        interval = ''
        if row.base:
            mean, half = row.paired.mean(), row.half
            interval = f'{mean:+.2f}'
            interval += '' if np.isnan(half) else f' [{mean - half:+.2f}, {mean + half:+.2f}]'
        cells = [row.name, format_mean(row.values.values()), str(len(row.values)), interval]
        cells += [column.get(row.name, '') for column in columns.values()]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join([*lines, '', get_machine()])


def _get_base(rows: list[Row]) -> str:
    bases = {row.base for row in rows} - {''}
    return bases.pop() if len(bases) == 1 else 'the same without SKD'


def write_csv(rows: list[Row], path: Path) -> None:
    """Writes every single result: config, seed, value."""
    with write_beside(path) as part, open(part, 'w', newline='') as file:
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

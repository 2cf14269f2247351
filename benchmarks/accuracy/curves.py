r"""Compare the loss curves of two configs, paired by seed.

For a setting that should not change the training, such as a teacher in bfloat16: shows
the differences that it makes beside those between seeds. As with
``benchmarks.accuracy.compare``, a finished run is not repeated.

Example:
    python -m benchmarks.accuracy.curves --seeds 5 \
        configs/digits/kd_resnet14-w16_resnet10-w4_60e_digits.py \
        configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from skd_mmrazor.utils.command_line import make_parser, output_file, run_tool

from .runs import Run, add_arguments, make_runs, train_all
from .scalars import read_curves
from .summary import Row, get_machine, pair, summarise


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('base', type=Path)
    parser.add_argument('config', type=Path)
    parser.add_argument('--out', type=output_file('.png', '.pdf', '.svg'), help='draw the curves')
    add_arguments(parser, Path('work_dirs/curves'))
    return parser.parse_args()


def read_curve(run: Run) -> np.ndarray:
    """The loss that trained the student, the mean of each epoch.

    Args:
        run (Run): One that has finished.
    """
    return np.array([loss for _, loss in read_curves(run.work_dir)['loss']])


def to_markdown(metrics: dict[str, list[Row]]) -> str:
    """The table: a line for each seed, and one over all.

    Args:
        metrics (dict[str, list[Row]]): By metric, the base and the other.
    """
    base, row = next(iter(metrics.values()))
    names = [f'{name}{of}' for name in metrics for of in (' of the base', '')]
    lines = [f'{row.name}; the base is {base.name}', '']
    lines += [f'| seed | {" | ".join(names)} |', '|---' * (1 + len(names)) + '|']
    for seed in base.values:
        values = [f'{r.values[seed]:.4f}' for rows in metrics.values() for r in rows]
        lines.append(f'| {seed} | {" | ".join(values)} |')
    lines += ['', '| | difference, 95 % | standard deviation between seeds |', '|---|---|---|']
    for name, (base, row) in metrics.items():
        mean, half = row.paired.mean(), row.half
        lines.append(
            f'| {name} | {mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}] | {base.spread:.4f} |'
        )
    return '\n'.join([*lines, '', get_machine()])


def plot(curves: dict[str, np.ndarray], path: Path) -> None:
    """Draws the means over the seeds, in bands of their standard deviations.

    Args:
        curves (dict[str, np.ndarray]): Losses of shape (seeds, epochs), by name.
        path (Path): The picture.
    """
    figure = Figure(figsize=(8, 4), layout='constrained')
    axes = figure.subplots()
    for (name, losses), color, style in zip(
        curves.items(), ('#1f4e79', '#d9822b'), ('-', '--'), strict=True
    ):
        epochs, mean, spread = 1 + np.arange(losses.shape[1]), losses.mean(0), losses.std(0)
        axes.plot(epochs, mean, style, color=color, label=name)
        axes.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.2, lw=0)
    axes.set_yscale('log')
    axes.set_xlabel('epoch')
    axes.set_ylabel('loss, mean ± standard deviation of seeds')
    axes.legend(frameon=False)
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Runs everything and prints the tables as Markdown."""
    args = parse_args()
    configs = (args.base, args.config)
    runs = make_runs(configs, args)
    if train_all(runs, [''] * args.jobs):
        raise SystemExit('A run failed.')
    curves = {
        config.stem: np.stack([read_curve(run) for run in runs if run.config == config])
        for config in configs
    }
    losses = {name: dict(enumerate(found[:, -1])) for name, found in curves.items()}
    metrics = {
        'last loss': pair(losses, args.base.stem),
        args.metric: summarise(runs, args.metric, args.base.stem),
    }
    print('\n' + to_markdown(metrics))
    if args.out:
        plot(curves, args.out)


if __name__ == '__main__':
    run_tool(main)

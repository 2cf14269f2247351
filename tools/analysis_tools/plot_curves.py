"""Draw the curves of a run: accuracy, losses, and what the simplifier did.

Usage:
    python tools/analysis_tools/plot_curves.py work_dirs/NAME [--out curves.png]
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use('Agg')  # a cluster has no display
import matplotlib.pyplot as plt

ENTROPIES = ('distill.teacher_entropy', 'distill.simplified_entropy')
SHARES = ('distill.agreement', 'distill.lam')


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description='Draw the curves of a run')
    parser.add_argument('work_dir', type=Path, help='the work dir of a training run')
    parser.add_argument('--out', type=Path, help='the picture; WORK_DIR/curves.png by default')
    return parser.parse_args()


def read_scalars(work_dir: Path) -> tuple[list[dict], list[dict]]:
    """Reads what mmengine's ``LocalVisBackend`` logged, over all resumptions.

    Args:
        work_dir (Path): The work directory of a training run.

    Returns:
        tuple[list[dict], list[dict]]: Training and validation records, by step.

    Raises:
        SystemExit: Nothing was logged there.
    """
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    # Folders are named by their start, so a later run overrides an earlier one.
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        for line in path.read_text().splitlines():
            record = json.loads(line)
            (train if 'loss' in record else val)[record['step']] = record
    if not train:
        raise SystemExit(f'{work_dir}: no */vis_data/scalars.json with training records in it.')
    return [train[step] for step in sorted(train)], [val[step] for step in sorted(val)]


def plot(axes: plt.Axes, records: list[dict], keys: list[str], x: str, title: str) -> None:
    """Draws the keys that the records have."""
    for key in keys:
        points = [(r[x], r[key]) for r in records if key in r]
        if points:
            axes.plot(*zip(*points, strict=True), label=key)
    axes.set(title=title, xlabel={'step': 'epoch', 'iter': 'iteration'}[x])
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small')


def main() -> None:
    """Draws the picture and prints the last accuracies."""
    args = parse_args()
    train, val = read_scalars(args.work_dir)
    accuracies = sorted({key for r in val for key in r if key.endswith('top1')})
    losses = sorted({key for r in train for key in r if 'loss' in key})
    simplified = any(key in train[-1] for key in ENTROPIES)

    figure, axes = plt.subplots(1, 4 if simplified else 2, squeeze=False, layout='constrained')
    figure.set_size_inches(5 * axes.size, 4)
    figure.suptitle(args.work_dir.resolve().name)
    plot(axes[0, 0], val, accuracies, 'step', 'Validation top-1 (%)')
    plot(axes[0, 1], train, losses, 'iter', 'Training losses')
    if simplified:
        plot(axes[0, 2], train, list(ENTROPIES), 'iter', 'Entropy of the target (nats)')
        plot(axes[0, 3], train, list(SHARES), 'iter', 'Agreement with the teacher, and λ')
    out = args.out or args.work_dir / 'curves.png'
    figure.savefig(out, dpi=120)

    for key in accuracies:
        print(f'{key}: {val[-1][key]:.2f}')
    print(f'curves: {out}')


if __name__ == '__main__':
    main()

"""A training as it was logged, for drawing and comparing."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .scalars import read_scalars


@dataclass
class LoggedRun:
    """The training in a work directory, including all resumptions.

    Args:
        name (str): Its name in the legend.
        train (list[dict]): Training records, by iteration.
        val (list[dict]): Validation records, by epoch or iteration.
        picture (Path, optional): The last picture of the simplified targets.
    """

    name: str
    train: list[dict]
    val: list[dict]
    picture: Path | None

    @classmethod
    def load(cls, work_dir: Path, name: str) -> 'LoggedRun':
        """Reads what mmengine's ``LocalVisBackend`` wrote.

        Raises:
            SystemExit: Nothing was logged there.
        """
        records = read_scalars(work_dir)
        if not records['train']:
            raise SystemExit(f'{work_dir}: no */vis_data/scalars.json with training records in it.')
        pictures = work_dir.glob('*/vis_data/vis_image/simplification_*.png')
        picture = max(pictures, key=lambda p: p.stat().st_mtime, default=None)
        return cls(name, **records, picture=picture)

    @property
    def unit(self) -> str:
        """The unit in which the training counts."""
        return 'epoch' if 'epoch' in self.train[0] else 'iteration'

    def accuracies(self, model: str = '') -> list[tuple[int, float]]:
        """Top-1 of the student, or of the teacher, by epoch or iteration."""
        key = f'{model}accuracy/top1'
        return [(r['step'], r[key]) for r in self.val if key in r]

    def curve(self, key: str) -> list[tuple[float, float]]:
        """The mean of each epoch, or all values of a run that counts iterations."""
        values = defaultdict(list)
        for record in self.train:
            if key in record:
                values[record.get('epoch', record['step'])].append(record[key])
        return [(x, float(np.mean(y))) for x, y in values.items()]

    def summary(self) -> dict[str, str]:
        """A row of the table."""
        row = {'run': self.name}
        if accuracies := self.accuracies():
            best = max(accuracies, key=lambda point: point[1])
            row['accuracy/top1'] = f'{accuracies[-1][1]:.2f}'
            row['best'] = f'{best[1]:.2f} ({self.unit} {best[0]})'
        if teacher := self.accuracies('teacher.'):
            row['teacher.accuracy/top1'] = f'{teacher[-1][1]:.2f}'
        last = self.train[-1]
        if 'distill.simplified_entropy' in last:
            row['entropy (nats)'] = (
                f'{last["distill.teacher_entropy"]:.2f} → {last["distill.simplified_entropy"]:.2f}'
            )
        if 'distill.lam' in last:
            row['λ'] = f'{last["distill.lam"]:+.3f}'.replace('-', '−')
        return row

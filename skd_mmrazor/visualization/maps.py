"""A picture of simplified maps of classes beside the teacher's and the student's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .simplification import (
    ATTENTION,
    COLORS,
    FAINT,
    INK,
    TITLE,
    TITLES,
    draw_image,
    get_entropy,
    shorten,
)


def draw_simplified_maps(
    images: Sequence[np.ndarray],
    classes: Sequence[str],
    palette: np.ndarray,
    probabilities: dict[str, np.ndarray],
    title: str,
    num_samples: int = 4,
) -> np.ndarray:
    """Draws maps of classes as colours, and where simplification changes them.

    A location has the mean of the colours of its classes, weighted by their
    probabilities: a pure colour is a sure prediction. The samples that are drawn are
    those about which the teacher is least sure.

    Args:
        images (Sequence[np.ndarray]): N images, uint8, (H, W) or (H, W, 3) in RGB.
        classes (Sequence[str]): Names of the C classes.
        palette (np.ndarray): Their colours, (C, 3), from 0 to 1.
        probabilities (dict[str, np.ndarray]): ``teacher``, ``simplified`` and
            ``student``, (N, C, H, W) each; the student's may be of another size.
        title (str): The title of the picture.
        num_samples (int): How many samples to draw. Defaults to 4.

    Returns:
        np.ndarray: The picture, uint8, (height, width, 3) in RGB.
    """
    entropies = {kind: get_entropy(p).mean(axis=(1, 2)) for kind, p in probabilities.items()}
    drawn = sorted(np.argsort(-entropies['teacher'], kind='stable')[:num_samples])
    moved = np.abs(probabilities['simplified'] - probabilities['teacher']).sum(axis=1) / 2
    limit = max(float(moved[drawn].max()), 1e-6)

    height, width = images[drawn[0]].shape[:2]
    panel = min(4.0, 2.55 * height / width) + 0.3
    figure = Figure(figsize=(13.4, 0.9 + len(drawn) * panel), dpi=110)
    figure.set_layout_engine('constrained', w_pad=0.06)
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha='left', fontsize=11, color=INK)
    axes = figure.subplots(len(drawn), 5, squeeze=False)
    for row, i in zip(axes, drawn, strict=True):
        draw_image(row[0], images[i], '')
        for ax, (kind, p) in zip(row[1:4], probabilities.items(), strict=True):
            colors = np.moveaxis(p[i], 0, -1) @ palette
            _draw_map(ax, colors.clip(0, 1), images[i], f'{entropies[kind][i]:.2f} nats')
        note = f'{100 * moved[i].mean():.1f} % moved, at most {100 * moved[i].max():.0f} %'
        _draw_map(row[4], moved[i], images[i], note, cmap=ATTENTION, vmin=0, vmax=limit)
    for ax, kind in zip(axes[0, 1:4], probabilities, strict=True):
        ax.set_title(TITLES[kind], color=COLORS[kind], **TITLE)
    axes[0, 4].set_title('Change of the target', color=INK, **TITLE)
    shown = np.unique(
        np.concatenate([p[drawn].argmax(axis=1).ravel() for p in probabilities.values()])
    )
    patches = [Patch(color=palette[c], label=shorten(classes[c])) for c in shown]
    figure.legend(handles=patches, loc='outside lower left', ncols=8, frameon=False, fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_map(ax: Axes, values: np.ndarray, image: np.ndarray, note: str, **kwargs: Any) -> None:
    height, width = image.shape[:2]
    ax.imshow(values, extent=(0, width, height, 0), interpolation='nearest', **kwargs)
    ax.set_xlabel(note, fontsize=7.5, color=FAINT)
    ax.set(xticks=[], yticks=[], anchor='W')
    ax.spines[:].set_visible(False)

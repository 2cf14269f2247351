"""A picture of simplified targets beside the teacher's and the student's."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

COLORS = {'teacher': '#8a94a6', 'simplified': '#d9822b', 'student': '#4f8a83'}
TITLES = {'teacher': 'Teacher', 'simplified': 'Simplified target', 'student': 'Student'}
INK, FAINT = '#2b2f36', '#8d929b'
TITLE: Any = dict(fontsize=10, loc='left', weight='bold')
_CAPTION = (
    'With λ > 0 a target mixes in what its {} attends to;\n'
    'with λ < 0 it moves away from it, which sharpens it.\n'
    'Dotted: the teacher, and in brackets the change in points.'
)
ATTENTION = LinearSegmentedColormap.from_list('attention', ['#ffffff', COLORS['simplified']])


def draw_simplification(
    images: Sequence[np.ndarray],
    labels: Sequence[int | Sequence[int]],
    classes: Sequence[str],
    probabilities: dict[str, np.ndarray],
    attention: np.ndarray | None,
    title: str,
    num_samples: int = 4,
    num_classes: int = 6,
) -> np.ndarray:
    """Draws distributions as bars, and the attention between the tokens.

    The samples that are drawn are those about which the teacher is least sure:
    in the others there is little to simplify.

    Args:
        images (Sequence[np.ndarray]): N images, uint8, (H, W) or (H, W, 3) in RGB.
        labels (Sequence[int | Sequence[int]]): The true class of each image, or all
            its true classes, which may be none.
        classes (Sequence[str]): Names of the C classes.
        probabilities (dict[str, np.ndarray]): ``teacher``, ``simplified`` and
            ``student``, (N, C) each.
        attention (np.ndarray, optional): Rows sum to 1. (N, N) among the samples; or
            (N, C, C) among the classes, of which the mean over the drawn samples is
            drawn, for at most 16 classes that are likeliest in these.
        title (str): The title of the picture.
        num_samples (int): How many samples to draw. Defaults to 4.
        num_classes (int): How many classes of each, the teacher's first. Defaults
            to 6.

    Returns:
        np.ndarray: The picture, uint8, (height, width, 3) in RGB.
    """
    names = [shorten(name) for name in classes]
    captions = [', '.join(names[int(c)] for c in np.atleast_1d(label)) for label in labels]
    entropies = {name: get_entropy(p) for name, p in probabilities.items()}
    drawn = sorted(np.argsort(-entropies['teacher'], kind='stable')[:num_samples])
    limit = 1.5 * max(p[drawn].max() for p in probabilities.values())

    width = 13.4 if attention is not None else 9.0
    figure = Figure(figsize=(width, 1.0 + 1.55 * len(drawn)), dpi=110)
    figure.set_layout_engine('constrained', w_pad=0.08)
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha='left', fontsize=11, color=INK)
    grid: Any = figure.add_gridspec(1, 2, width_ratios=[9.0, 4.4], wspace=0.04)
    bars: Any = grid[0] if attention is not None else grid[:]
    axes = bars.subgridspec(len(drawn), 4, width_ratios=[0.75, 1, 1, 1]).subplots(squeeze=False)
    for row, i in zip(axes, drawn, strict=True):
        draw_image(row[0], images[i], captions[i])
        shown = np.argsort(-probabilities['teacher'][i], kind='stable')[:num_classes]
        teacher = probabilities['teacher'][i, shown]
        for ax, (kind, p) in zip(row[1:], probabilities.items(), strict=True):
            before = teacher if kind == 'simplified' else None
            _draw_bars(ax, p[i, shown], before, COLORS[kind], limit)
            ax.set_yticks(range(len(shown)), [names[c] for c in shown] if kind == 'teacher' else [])
            note: Any = dict(transform=ax.transAxes, ha='right', fontsize=7.5, color=FAINT)
            ax.text(1, 0.05, f'{entropies[kind][i]:.2f} nats', **note)
    for ax, kind in zip(axes[0, 1:], probabilities, strict=True):
        ax.set_title(TITLES[kind], color=COLORS[kind], **TITLE)
    if attention is not None:
        ax = figure.add_subplot(grid[1])
        if attention.ndim == 3:
            # The classes that matter are those that the teacher finds likely.
            likely = np.argsort(-probabilities['teacher'][drawn].mean(axis=0), kind='stable')[:16]
            weights = attention[drawn].mean(axis=0)[np.ix_(likely, likely)]
            _draw_attention(ax, weights, [names[c] for c in likely], 'class', 'Mean attention')
        else:
            _draw_attention(ax, attention, captions, 'image')
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def draw_image(ax: Axes, image: np.ndarray, name: str) -> None:
    """Draws an image, uint8, with a name below it."""
    ax.imshow(image, cmap='gray', vmin=0, vmax=255)
    ax.set_xlabel(name, fontsize=8.5, color=INK)
    ax.set(xticks=[], yticks=[], anchor='W')
    ax.spines[:].set_visible(False)


def _draw_bars(
    ax: Axes, values: np.ndarray, before: np.ndarray | None, color: str, limit: float
) -> None:
    rows = range(len(values))
    ax.barh(rows, values, height=0.7, color=color)
    ends = values
    if before is not None:
        # The teacher's values in outline, so that the change shows in one panel.
        outline: Any = dict(facecolor='none', edgecolor=INK, linewidth=0.8, linestyle=':')
        ax.barh(rows, before, height=0.7, **outline)
        ends = np.maximum(values, before)
    for y, (value, end) in enumerate(zip(values, ends, strict=True)):
        text = f'{100 * value:.0f} %'
        if before is not None:
            text += f'  ({100 * (value - before[y]):+.1f})'.replace('-', '−')
        ax.text(end + 0.02 * limit, y, text, va='center', fontsize=7, color=INK)
    ax.set(xlim=(0, limit), xticks=[])
    ax.invert_yaxis()
    ax.tick_params(axis='y', length=0, labelsize=8, labelcolor=INK)
    ax.spines[['top', 'right', 'bottom']].set_visible(False)
    ax.spines['left'].set_color(FAINT)


def _draw_attention(
    ax: Axes, attention: np.ndarray, names: list[str], token: str, what: str = 'Attention'
) -> None:
    # Sorted by class, so that samples that attend to their own class form blocks.
    order = sorted(range(len(names)), key=lambda i: names[i])
    ax.imshow(attention[np.ix_(order, order)], cmap=ATTENTION, vmin=0, vmax=attention.max())
    ticks = [names[i] for i in order]
    ax.set_xticks(range(len(ticks)), ticks, rotation=90)
    ax.set_yticks(range(len(ticks)), ticks)
    ax.set_anchor('N')
    ax.tick_params(length=0, labelsize=7.5, labelcolor=INK)
    ax.spines[:].set_color(FAINT)
    ax.set_title(f'{what} of each {token} (row) to the others', color=INK, **TITLE)
    ax.set_xlabel(_CAPTION.format(token), fontsize=8, color=FAINT, loc='left', labelpad=10)


def get_entropy(p: np.ndarray) -> np.ndarray:
    """The entropies of distributions over axis 1, in nats."""
    return -(p * np.log(np.clip(p, 1e-12, None))).sum(axis=1)


def shorten(name: str, length: int = 16) -> str:
    """The first of a class's names, of at most ``length`` characters."""
    # ImageNet's names are lists of synonyms.
    name = str(name).split(',')[0]
    return name if len(name) <= length else name[: length - 1] + '…'

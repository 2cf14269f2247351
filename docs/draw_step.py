"""Draws what happens in a training step with SKD.

Example:
    python docs/draw_step.py
"""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from skd_mmrazor.visualization.simplification import COLORS, FAINT, INK

# By name: the centre, the colour, the text.
BOXES = {
    'images': (0.0, 0.5, FAINT, 'images'),
    'teacher': (1.5, 1.0, COLORS['teacher'], 'teacher\n(frozen)'),
    'soften': (3.1, 1.0, COLORS['simplified'], 'softening\n$y = \\log\\,$softmax$(s z / τ)$'),
    'simplify': (5.2, 1.0, COLORS['simplified'], 'learning simplifier\n$(1 - λ)\\,y + λ A y$'),
    'student': (1.5, 0.0, COLORS['student'], 'student'),
    'loss': (7.1, 0.5, INK, 'the unchanged\nloss'),
}
# From box to box, with a text; then those of the gradient.
FORWARD = [
    *(('images', 'teacher', ''), ('images', 'student', ''), ('teacher', 'soften', '$z$')),
    *(('soften', 'simplify', '$y$'), ('simplify', 'loss', '$ẑ$'), ('student', 'loss', 'logits')),
]
BACKWARD = [('loss', 'simplify'), ('loss', 'student')]
BORDER = 0.08


def draw(path: Path) -> None:
    """Draws the picture.

    Args:
        path (Path): The file.
    """
    figure = Figure(figsize=(11, 2.9), layout='constrained')
    axes = figure.add_subplot()
    patches = {}
    for name, (x, y, color, text) in BOXES.items():
        style = dict(boxstyle='round,pad=0.5', facecolor='white', edgecolor=color, linewidth=2)
        patches[name] = axes.text(x, y, text, ha='center', va='center', color=INK, bbox=style)
    for start, end, text in FORWARD:
        _draw_arrow(axes, patches, start, end, BORDER, color=INK)
        x, y = ((BOXES[start][i] + BOXES[end][i]) / 2 for i in (0, 1))
        axes.text(x, y + 0.13, text, ha='center', color=INK)
    for start, end in BACKWARD:
        color = COLORS['simplified' if end == 'simplify' else 'student']
        _draw_arrow(axes, patches, start, end, -BORDER, color=color, linestyle='dashed')
    # What only training needs.
    frame = dict(boxstyle='round,pad=0.1', facecolor='none', edgecolor=FAINT, linestyle='dotted')
    axes.add_patch(FancyBboxPatch((1.0, 0.68), 5.2, 0.64, **frame))
    axes.text(3.6, 1.47, 'gone at inference', ha='center', color=FAINT)
    axes.text(7.1, -0.05, 'dashed: gradient', ha='center', color=FAINT)
    axes.set(xlim=(-0.5, 7.9), ylim=(-0.35, 1.65))
    axes.set_axis_off()
    figure.savefig(path, dpi=150)


def _draw_arrow(axes, patches, start, end, shift, **style) -> None:
    (x0, y0), (x1, y1) = (BOXES[name][:2] for name in (start, end))
    axes.annotate(
        '',
        xy=(x1, y1 - shift / 2),
        xytext=(x0, y0 - shift / 2),
        arrowprops=dict(
            arrowstyle='-|>',
            shrinkA=4,
            shrinkB=4,
            patchA=patches[start].get_bbox_patch(),
            patchB=patches[end].get_bbox_patch(),
            **style,
        ),
    )


if __name__ == '__main__':
    draw(Path(__file__).parent / 'images' / 'step.png')

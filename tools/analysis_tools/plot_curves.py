r"""Draw and compare runs: accuracy, losses, and what the simplifier did.

Example:
    python tools/analysis_tools/plot_curves.py --legend KD SKD --out curves.png \
        work_dirs/kd_resnet14-w16_resnet10-w4_60e_digits \
        work_dirs/skd_kd_resnet14-w16_resnet10-w4_60e_digits

Beside the picture, it writes a page of the same name (``curves.html``): one file with the
curves, a table of the accuracies and the last picture of ``SimplifierVisualizationHook``.
mmpretrain's ``tools/analysis_tools/analyze_logs.py`` draws any other key of the log.
"""

import argparse
import base64
import html
import io
from pathlib import Path
from string import Template

import matplotlib

matplotlib.use('Agg')  # a cluster has no display
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from skd_mmrazor.utils.command_line import (
    add_force,
    keep_existing,
    make_parser,
    output_file,
    run_tool,
)
from skd_mmrazor.utils.files import write_beside
from skd_mmrazor.utils.logged_run import LoggedRun

COLORS = ['#4878a8', '#4f8a83', '#d9822b', '#8e6bb0', '#b5533c', '#7f7f7f', '#2b2f36', '#c2a83e']
STYLES = {'-': '', '--': 'dashed ', ':': 'dotted ', '-.': 'dash-dotted '}

PAGE = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$title</title>
<style>
body { max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: #2b2f36;
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin-top: 2rem; }
table { border-collapse: collapse; }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #e3e5e8; text-align: right; }
th:first-child, td:first-child { text-align: left; }
svg, img { width: 100%; height: auto; } p { color: #6b7079; }
</style>
<h1>$title</h1>
<table>$table</table>
<p>One run each: a difference within the spread of a few seeds says nothing.</p>
$curves
$pictures
</html>
""")


def draw(runs: list[LoggedRun]) -> Figure:
    """Draws a panel for each quantity that at least one run logged."""
    distill = {k for run in runs for r in run.train for k in r if k.startswith('distill.')}
    losses = sorted(key for key in distill if 'loss' in key)
    styles = [*STYLES.values()] * len(losses)
    names = [s + k.removeprefix('distill.') for s, k in zip(styles, losses, strict=False)]
    panels = [
        ('Validation top-1 (%)', []),
        ('Loss of the student on the labels', ['student.loss', 'loss']),
        ('Distillation: ' + ', '.join(names), losses),
        (
            'Entropy of the target (nats); dashed: the teacher',
            ['distill.simplified_entropy', 'distill.teacher_entropy'],
        ),
        ('Agreement with the teacher', ['distill.top1_agreement']),
        ('λ', ['distill.lam']),
    ]
    panels = [p for i, p in enumerate(panels) if i < 2 or distill.intersection(p[1])]
    columns = min(3, len(panels))
    shape = (-(-len(panels) // columns), columns)
    figure, axes = plt.subplots(*shape, squeeze=False, layout='constrained')
    figure.set_size_inches(4.6 * columns, 0.7 + 3.4 * shape[0])
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    for ax, (title, keys) in zip(axes.flat, panels, strict=False):
        for run, color in zip(runs, COLORS, strict=False):
            if not keys:
                draw_accuracy(ax, run, color)
            found = [key for key in keys if run.curve(key)]
            # ``loss`` is the sum; without distillation it is the student's only loss.
            for key in [key for key in found if key != 'loss'] or found:
                style = '-' if key == 'loss' else [*STYLES][keys.index(key) % len(STYLES)]
                draw_line(ax, run.curve(key), color, style)
        if any('loss' in key for key in keys):
            ax.set_yscale('log')
            ax.tick_params(which='minor', labelsize=8)
        if keys == ['distill.top1_agreement']:
            ax.set_ylim(min(0.95, ax.get_ylim()[0]), 1.003)
        ax.set_title(title, fontsize=10, loc='left')
        ax.set_xlabel(' or '.join(sorted({run.unit for run in runs})), fontsize=9)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.25)
        ax.spines[['top', 'right']].set_visible(False)
    handles = [
        plt.Line2D([], [], color=color, lw=2) for _, color in zip(runs, COLORS, strict=False)
    ]
    legend = dict(loc='outside upper left', ncols=3, frameon=False, fontsize=9)
    figure.legend(handles, [run.name for run in runs], **legend)
    return figure


def draw_line(ax: plt.Axes, points: list[tuple], color: str, style: str = '-') -> None:
    """A line, or a dot where there is one point, which a line does not show."""
    marker = 'o' if len(points) == 1 else ''
    ax.plot(*zip(*points, strict=True), color=color, ls=style, marker=marker, lw=1.6)


def draw_accuracy(ax: plt.Axes, run: LoggedRun, color: str) -> None:
    """The student's accuracy, and a line for the teacher's."""
    if points := run.accuracies():
        draw_line(ax, points, color)
        # The axis fits the second half, in which runs differ by less than they gain before.
        late = [y for _, y in points[len(points) // 2 :]]
        bottom = min(late) - 1
        ax.set_ylim(bottom=bottom if ax.get_autoscaley_on() else min(bottom, ax.get_ylim()[0]))
    if teacher := run.accuracies('teacher.'):
        x, y = teacher[-1]
        label = f'teacher {y:.2f}'
        if label not in [text.get_text() for text in ax.texts]:
            ax.axhline(y, color='#8d929b', lw=1, ls='--')
            ax.text(x, y, label, fontsize=8, color='#6b7079', ha='right', va='bottom')


def write_page(runs: list[LoggedRun], figure: Figure, path: Path) -> None:
    """Writes the curves, the table and the pictures as one file without links."""
    svg = io.StringIO()
    figure.savefig(svg, format='svg', metadata=dict.fromkeys(['Creator', 'Date', 'Format', 'Type']))
    rows = [run.summary() for run in runs]
    header = list(dict.fromkeys(key for row in rows for key in row))
    lines = [''.join(f'<th>{html.escape(key)}</th>' for key in header)]
    for row in rows:
        lines.append(''.join(f'<td>{html.escape(row.get(key, ""))}</td>' for key in header))
    pictures = ''.join(
        f'<h2>{html.escape(run.name)}: {run.picture.stem}</h2>\n<img alt="targets" '
        f'src="data:image/png;base64,{base64.b64encode(run.picture.read_bytes()).decode()}">\n'
        for run in runs
        if run.picture
    )
    page = PAGE.substitute(
        title=html.escape(', '.join(run.name for run in runs)),
        table=''.join(f'<tr>{line}</tr>' for line in lines),
        # Without the XML prologue, which names a DTD by its address.
        curves=svg.getvalue()[svg.getvalue().index('<svg') :],
        pictures=pictures,
    )
    path.write_text(page, encoding='utf-8')


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('work_dirs', type=Path, nargs='+', help='work dirs of training runs')
    parser.add_argument('--legend', nargs='+', help='names of the runs; their folders by default')
    parser.add_argument(
        '--out',
        type=output_file('.png', '.pdf', '.svg'),
        help='the picture; curves.png in the first by default',
    )
    add_force(parser)
    args = parser.parse_args()
    names = args.legend or [work_dir.resolve().name for work_dir in args.work_dirs]
    if len(names) != len(args.work_dirs):
        parser.error(f'--legend has {len(names)} names, expected {len(args.work_dirs)}')
    if len(names) > len(COLORS):
        parser.error(f'{len(names)} runs, expected {len(COLORS)} at most')
    args.legend = names
    return args


def main() -> None:
    """Draws the picture, writes the page, and prints the table."""
    args = parse_args()
    out = args.out or args.work_dirs[0] / 'curves.png'
    page = out.with_suffix('.html')
    keep_existing([out, page], args.force)
    runs = [LoggedRun.load(*pair) for pair in zip(args.work_dirs, args.legend, strict=True)]
    figure = draw(runs)
    with write_beside(out) as picture, write_beside(page) as part:
        figure.savefig(picture, dpi=120, format=out.suffix[1:])
        write_page(runs, figure, Path(part))
    for run in runs:
        name, *values = run.summary().items()
        print(f'{name[1]}  ' + ', '.join(f'{key}: {value}' for key, value in values))
    print(f'curves: {out}\npage: {page}')


if __name__ == '__main__':
    run_tool(main)

"""The simplifier alone: time and memory of a forward and a backward pass.

Example:
    python -m benchmarks.speed.simplifier --classes 100 1000 --batches 64 256

A pass that takes longer than ``--limit`` is stopped, and its row says so. If one pass is
within the limit but all rounds would exceed it, the time is that of the single pass.
"""

import argparse
import itertools
import signal
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from skd_mmrazor.models import AttentionSimplifierConnector
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from .memory import call_alone, forget_peak, get_peak, give_back_freed
from .report import get_conditions, write_json
from .timing import interleave, time_call


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('--classes', type=int, nargs='+', default=[100, 1000, 21000])
    add('--batches', type=int, nargs='+', default=[64, 256], help='images a batch')
    add('--rounds', type=int, default=10, help='passes that are timed')
    add('--limit', type=float, default=60, help='seconds for a pass, and for all of a row')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--out', type=Path, help='write the results as JSON')
    return parser.parse_args()


def measure(
    attend_over: str, classes: int, batch: int, limit: float, device: torch.device
) -> tuple[float, float]:
    """Measures one pass, in a process of its own.

    Args:
        attend_over (str): ``'samples'`` or ``'classes'``.
        classes (int): Number of classes.
        batch (int): Number of images.
        limit (float): Seconds after which the process is ended.
        device (torch.device): Where it runs.

    Returns:
        tuple[float, float]: Milliseconds, and the MiB by which the peak of the pass
        exceeds the memory before it, which includes the logits.
    """
    give_back_freed()
    # So that torch's own initialisation is not measured.
    make_step(attend_over, 2, 2, device)()
    step = make_step(attend_over, classes, batch, device)
    forget_peak(device)
    before = get_peak(device)
    signal.setitimer(signal.ITIMER_REAL, limit)
    return time_call(step, device), get_peak(device) - before


def make_step(
    attend_over: str, classes: int, batch: int, device: torch.device
) -> Callable[[], None]:
    """A forward and a backward pass, as a function.

    Args:
        attend_over (str): ``'samples'`` or ``'classes'``.
        classes (int): Number of classes.
        batch (int): Number of images.
        device (torch.device): Where it runs.
    """
    simplifier = AttentionSimplifierConnector(classes, tau=4.0, attend_over=attend_over)
    # λ starts at 0, and with it most gradients: zeros may take less time.
    nn.init.ones_(simplifier.lam_logit)
    simplifier.to(device)
    logits, gradient = torch.randn(2, batch, classes, device=device)

    def step() -> None:
        simplifier.zero_grad()
        simplifier(logits).backward(gradient)

    return step


def main() -> None:
    """Measures everything and prints the table as Markdown."""
    args = parse_args()
    device = torch.device(args.device)
    rows: dict[str, dict] = {}
    calls: dict[str, Callable[[], None]] = {}
    sizes = [*itertools.product(args.classes, args.batches, ('samples', 'classes'))]
    for classes, batch, attend_over in track(sizes, 'sizes'):
        size = (attend_over, classes, batch)
        name = f'{attend_over} | {classes:,} | {batch}'
        rows[name] = row = dict(attend_over=attend_over, classes=classes, batch=batch)
        try:
            first, row['memory'] = call_alone(measure, *size, args.limit, device)
        except ChildProcessError as error:
            (code,) = error.args
            timeout = code == -signal.SIGALRM
            row['error'] = f'over {args.limit:g} s' if timeout else f'exit code {code}'
            continue
        row['times'] = [first]
        if args.rounds * first <= 1000 * args.limit:
            calls[name] = make_step(*size, device)
    for name, times in interleave(calls, args.rounds, device).items():
        rows[name]['times'] = times

    print('\n| attention over | classes | batch | ms | added at the peak, MiB |')
    print('|---|---|---|---|---|')
    for name, row in rows.items():
        cells = f'{row.get("error")} |'
        if 'times' in row:
            once = '' if name in calls else ' (one pass)'
            cells = f'{statistics.median(row["times"]):.2f}{once} | {row["memory"]:.1f}'
        print(f'| {name} | {cells} |')
    print(f'\n{get_conditions()}')
    if args.out:
        write_json(args.out, f'simplifier_{device.type}', rows=list(rows.values()))


if __name__ == '__main__':
    run_tool(main)

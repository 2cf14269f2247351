"""The simplifier alone: time and memory of a forward and a backward pass.

Usage:
    python -m benchmarks.speed.simplifier [--classes 100 1000 21000] [--batches 64 256]
        [--rounds 10] [--limit 60] [--device cuda] [--out DIR]
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

from .memory import call_alone, get_peak
from .report import get_conditions, write_json
from .timing import interleave, time_call


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--classes', type=int, nargs='+', default=[100, 1000, 21000])
    add('--batches', type=int, nargs='+', default=[64, 256], help='images a batch')
    add('--rounds', type=int, default=10, help='calls that are timed')
    add('--limit', type=float, default=60, help='seconds of a call, and of all of a row')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--out', type=Path, help='write the results as JSON')
    return parser.parse_args()


def measure(
    attend_over: str, classes: int, batch: int, rounds: int, limit: float, device: torch.device
) -> tuple[list[float], float]:
    """Times forward and backward passes, in a process that does nothing else.

    Args:
        attend_over (str): ``'samples'`` or ``'classes'``.
        classes (int): Number of classes.
        batch (int): Number of images.
        rounds (int): Number of passes.
        limit (float): Seconds. A first pass that takes longer ends the process; where
            the others would take longer, it is the only one.
        device (torch.device): Where it runs.

    Returns:
        tuple[list[float], float]: Milliseconds of each pass, and the MiB that they
        add at their peak to what was there before, the logits among it.
    """
    # What torch sets up once is no part of it.
    _make_step(attend_over, 2, 2, device)()
    step = _make_step(attend_over, classes, batch, device)
    before = get_peak(device)
    signal.setitimer(signal.ITIMER_REAL, limit)
    times = [time_call(step, device)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    if rounds * times[0] <= 1000 * limit:
        times = interleave({'step': step}, rounds, device)['step']
    return times, get_peak(device) - before


def _make_step(
    attend_over: str, classes: int, batch: int, device: torch.device
) -> Callable[[], None]:
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
    rows = []
    print('| classes | batch | attention over | ms | added at the peak, MiB |')
    print('|---|---|---|---|---|')
    for classes, batch, attend_over in itertools.product(
        args.classes, args.batches, ('samples', 'classes')
    ):
        row = dict(classes=classes, batch=batch, attend_over=attend_over)
        settings = (args.rounds, args.limit, torch.device(args.device))
        try:
            times, memory = call_alone(measure, attend_over, classes, batch, *settings)
        except ChildProcessError as error:
            (code,) = error.args
            timeout = code == -signal.SIGALRM
            times, memory = [], None
            cells = f'over {args.limit:g} s |' if timeout else f'ended with exit code {code} |'
        else:
            once = ' (one call)' if len(times) < args.rounds else ''
            cells = f'{statistics.median(times):.2f}{once} | {memory:.1f}'
        rows.append(dict(row, times=times, memory=memory))
        print(f'| {classes:,} | {batch} | {attend_over} | {cells} |', flush=True)
    print(f'\n{get_conditions()}')
    if args.out:
        write_json(args.out, f'simplifier_{torch.device(args.device).type}', rows=rows)


if __name__ == '__main__':
    main()

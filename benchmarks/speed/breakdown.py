"""Where the time of a training step of SKD + KD goes, before and after the hooks for speed.

Example:
    python -m benchmarks.speed.breakdown --scenario resnet --rounds 6 --out step.png
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.runner import Runner

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from .report import get_conditions
from .runners import by_runner, frozen_teacher, get_paying_parts
from .scenarios import SCENARIOS, load, make_batch

COLORS = '#1f4e79', '#d9822b'


class _Stopwatch:
    """Sums the time in methods, without the time in other watched methods that they call."""

    def __init__(self, device: torch.device, clock: Callable[[], float]) -> None:
        self.times: dict[str, float] = {}
        self._device, self._clock = device, clock
        self._running: list[str] = []
        self._last = 0.0

    def watch(self, owner: Any, method: str, name: str) -> None:
        original = getattr(owner, method)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._switch(name)
            try:
                return original(*args, **kwargs)
            finally:
                self._switch(None)

        # A module's own attribute hides the method of its class.
        object.__setattr__(owner, method, call)

    def _switch(self, name: str | None) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize()
        now = self._clock()
        if self._running:
            current = self._running[-1]
            self.times[current] = self.times.get(current, 0.0) + 1000 * (now - self._last)
        self._running.append(name) if name else self._running.pop()
        self._last = now


def break_down(
    runner: Runner,
    batch: dict,
    rounds: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Times the parts of a runner's steps.

    Args:
        runner (Runner): Ready to make steps, with SKD.
        batch (dict): A batch, collated.
        rounds (int): Number of steps.
        device (torch.device): The device of the model.
        clock (Callable): Seconds. Defaults to ``time.perf_counter``.

    Returns:
        dict[str, float]: Median milliseconds by part.
    """
    # On the first batch hooks put their own in the place of the teacher's forward pass.
    runner.train_loop.run_iter(0, copy.deepcopy(batch))
    model, watch = runner.model, _Stopwatch(device, clock)
    optim_wrapper = runner.optim_wrapper
    parts: list[tuple[Any, str, str]] = [
        (model.data_preprocessor, 'forward', 'data preprocessor'),
        (model.teacher, 'forward', 'teacher'),
        (model.architecture, 'forward', 'student forward'),
        (model.distiller.simplifier, 'forward', 'simplifier'),
        (model.distiller, 'compute_distill_losses', 'losses and statistics'),
        (optim_wrapper, 'backward', 'backward'),
        (optim_wrapper, 'step', 'optimizer'),
        (runner.train_loop, 'run_iter', 'runner'),
    ]
    for owner, method, name in parts:
        watch.watch(owner, method, name)
    found = []
    step: Callable[..., Any] = runner.train_loop.run_iter
    for i in track(range(rounds + 2), 'breakdown'):
        watch.times.clear()
        step(i, copy.deepcopy(batch))
        if i >= 2:
            found.append(dict(watch.times))
    return {name: statistics.median(times[name] for times in found) for *_, name in parts}


def plot(steps: dict[str, dict[str, float]], path: Path) -> None:
    """Draws the parts of steps, one below the other.

    Args:
        steps (dict[str, dict[str, float]]): Milliseconds by part, by the name of the step.
        path (Path): The picture.
    """
    figure = Figure(figsize=(7, 3 + 1.2 * (len(steps) - 1)), layout='constrained')
    axes = figure.subplots()
    names, height = list(next(iter(steps.values()))), 0.8 / len(steps)
    for i, ((label, parts), color) in enumerate(zip(steps.items(), COLORS, strict=False)):
        values = [parts[name] for name in names]
        label = f'{label}, {sum(values):.1f} ms'
        rows = [row + (i - (len(steps) - 1) / 2) * height for row in range(len(names))]
        bars = axes.barh(rows, values, height, color=color, label=label)
        axes.bar_label(bars, [f'{value:.1f}' for value in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel('milliseconds of a step, median of each part')
    axes.margins(x=0.12)
    axes.spines[['top', 'right']].set_visible(False)
    axes.legend(frameon=False, loc='lower right')
    figure.savefig(path, dpi=150)


def main() -> None:
    """Times steps without the hooks and with them, and draws both."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('--scenario', choices=list(SCENARIOS), default='resnet')
    add('--rounds', type=int, default=6, help='steps of each that are timed')
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--amp', choices=['bfloat16', 'float16'], default='', help='autocast')
    text = 'time the processor and not the clock, for a machine that does more; without a GPU'
    add('--processor-time', action='store_true', help=text)
    add('--out', type=Path, default=Path('step.png'), help='the picture')
    args: argparse.Namespace = parser.parse_args()
    scenario, device = SCENARIOS[args.scenario], torch.device(args.device)
    batch = make_batch(scenario, scenario.batch if device.type == 'cpu' else scenario.gpu_batch)
    parts = [dict(eval_mode=scenario.eval_mode), *get_paying_parts(args.device).values()]
    hooks = (dict(type='mmrazor.ChannelsLastHook'), frozen_teacher(parts))
    cfg = load(scenario, 'skd_kd', args.amp)
    clock = time.process_time if args.processor_time else time.perf_counter
    steps = {}
    for name, given, each in (
        ('SKD + KD', (), batch),
        ('with the hooks', hooks, dict(batch, inputs=torch.stack(batch['inputs']))),
    ):
        steps[name] = break_down(by_runner(cfg, given)[1], each, args.rounds, device, clock)
        print(f'{name}: ' + ', '.join(f'{part} {ms:.1f} ms' for part, ms in steps[name].items()))
    plot(steps, args.out)
    print(f'{get_conditions()}\npicture: {args.out}')


if __name__ == '__main__':
    run_tool(main)

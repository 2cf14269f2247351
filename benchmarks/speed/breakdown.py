"""Where the time of a training step goes."""

import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from mmengine.runner import Runner

from skd_mmrazor.utils.progress import track


class _Stopwatch:
    """Sums the time in methods, without the time in other watched methods that they call."""

    def __init__(self, device: torch.device) -> None:
        self.times: dict[str, float] = {}
        self._device = device
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
        now = time.perf_counter()
        if self._running:
            current = self._running[-1]
            self.times[current] = self.times.get(current, 0.0) + 1000 * (now - self._last)
        self._running.append(name) if name else self._running.pop()
        self._last = now


def break_down(runner: Runner, batch: dict, rounds: int, device: torch.device) -> dict[str, float]:
    """Times the parts of a runner's steps.

    Args:
        runner (Runner): Ready to make steps, with SKD.
        batch (dict): A batch, collated.
        rounds (int): Number of steps.
        device (torch.device): The device of the model.

    Returns:
        dict[str, float]: Median milliseconds by part.
    """
    model, watch = runner.model, _Stopwatch(device)
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


def plot(parts: dict[str, float], path: Path) -> None:
    """Draws the parts of a step, one below the other."""
    figure = Figure(figsize=(7, 3), layout='constrained')
    axes = figure.subplots()
    names = list(parts)[::-1]
    bars = axes.barh(names, [parts[name] for name in names], color='#1f4e79')
    axes.bar_label(bars, [f'{parts[name]:.1f}' for name in names], padding=3)
    axes.set_xlabel('milliseconds of a step of SKD + KD, median')
    axes.margins(x=0.12)
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(path, dpi=150)

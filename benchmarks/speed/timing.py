"""Functions timed side by side, one call of each a round."""

import random
import statistics
import time
from collections.abc import Callable

import torch

from skd_mmrazor.utils.progress import track


def time_call(
    call: Callable[[], object],
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Times a call.

    Args:
        call (Callable): What to call.
        device (torch.device): On a GPU, CUDA events time what it queued.
        clock (Callable): Gives seconds, without a GPU.

    Returns:
        float: Milliseconds.
    """
    if device.type == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
    begin = clock()
    call()
    return 1000 * (clock() - begin)


def interleave(
    calls: dict[str, Callable[[], object]],
    rounds: int,
    device: torch.device,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Times functions against each other.

    Each round calls every function once, in an order of its own, so that what the
    machine does beside hits all of them alike.

    Args:
        calls (dict[str, Callable]): The functions by name.
        rounds (int): Number of rounds.
        device (torch.device): Where they run.
        warmup (int): Rounds that are not counted. Defaults to 3.
        clock (Callable): Gives seconds, without a GPU.

    Returns:
        dict[str, list[float]]: Milliseconds, by name and round.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for i in track(range(warmup + rounds), 'rounds'):
        shuffle(order)
        for name in order:
            elapsed = time_call(calls[name], device, clock)
            if i >= warmup:
                times[name].append(elapsed)
    return times


def ratio(times: list[float], base: list[float]) -> tuple[float, float, float]:
    """Median and quartiles of the ratios of the rounds.

    Args:
        times (list[float]): By round.
        base (list[float]): Of the same rounds.
    """
    low, median, high = statistics.quantiles([a / b for a, b in zip(times, base, strict=True)], n=4)
    return median, low, high

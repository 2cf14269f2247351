"""A training step of KD and of SKD, against mmrazor's and a hand-written loop.

Example:
    python -m benchmarks.speed.step --scenario resnet --rounds 20 --amp bfloat16

``torchdistill`` is compared where it is installed (``pip install torchdistill``).
"""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from .breakdown import break_down, plot
from .contenders import BASE, collate, get_contenders
from .memory import call_alone, forget_peak, get_peak, give_back_freed
from .report import get_conditions, write_json
from .runners import Step, by_runner
from .scenarios import SCENARIOS, load, make_batch
from .timing import interleave, ratio


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    add = parser.add_argument
    add('--scenario', choices=list(SCENARIOS), default='resnet')
    add('--rounds', type=int, default=20, help='steps of each contender that are timed')
    add('--batch-size', type=int)
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--amp', choices=['bfloat16', 'float16'], default='', help='autocast of all contenders')
    add('--compile', action='store_true', help='add a compiled teacher')
    text = 'time the processor and not the clock, for a machine that does more; without a GPU'
    add('--processor-time', action='store_true', help=text)
    add('--only', nargs='+', help='contenders by their names in the table; default: all')
    add('--out', type=Path, help='write the results as JSON and draw the breakdown')
    return parser.parse_args()


def start(build: Callable[[], Step], batch: dict, device: torch.device) -> tuple[Step, float]:
    """Makes the first three steps of a contender.

    Args:
        build (Callable): Gives the step.
        batch (dict): A batch, collated.
        device (torch.device): Where it runs.

    Returns:
        tuple[Callable, float]: The step, and the peak memory of the last two in MiB: of
        this process, or what was added to the GPU's.
    """
    gc.collect()
    held = torch.cuda.memory_allocated(device) / 2**20 if device.type == 'cuda' else 0
    step = build()
    step(batch)  # It may fill a store, which the others read.
    forget_peak(device)
    for _ in range(2):
        step(batch)
    return step, get_peak(device) - held


def measure_memory(args: argparse.Namespace, name: str, size: int) -> float:
    """Peak memory of a contender, in MiB.

    Args:
        args (argparse.Namespace): The command line.
        name (str): The contender.
        size (int): Images per step.
    """
    give_back_freed()
    batch = collate(name, make_batch(SCENARIOS[args.scenario], size))
    return start(get_contenders(args)[name], batch, torch.device(args.device))[1]


def to_markdown(times: dict[str, list[float]], memory: dict[str, float]) -> str:
    """The table of medians, of ratios to mmrazor's KD and of peaks.

    Args:
        times (dict[str, list[float]]): Milliseconds of each round, by contender.
        memory (dict[str, float]): Peak memory in MiB, by contender.
    """
    lines = [f'| a training step | ms | ratio to {BASE} (quartiles) | peak MiB |', '|---' * 4 + '|']
    for name, values in times.items():
        median, low, high = ratio(values, times[BASE])
        spread = '1' if name == BASE else f'{median:.3f} ({low:.3f} to {high:.3f})'
        cells = name, f'{statistics.median(values):.1f}', spread, f'{memory[name]:.0f}'
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    """Times everything and prints the table as Markdown."""
    args = parse_args()
    scenario, device = SCENARIOS[args.scenario], torch.device(args.device)
    size = args.batch_size or (scenario.batch if device.type == 'cpu' else scenario.gpu_batch)
    batch = make_batch(scenario, size)
    contenders = get_contenders(args)
    batches = {name: collate(name, batch) for name in contenders}
    steps, memory = {}, {}
    for name, build in track(contenders.items(), 'first steps', len(contenders)):
        steps[name], memory[name] = start(build, batches[name], device)
    if device.type == 'cpu':
        # The peak is that of a whole process, so each contender gets a process of its own.
        memory = {
            name: call_alone(measure_memory, args, name, size)
            for name in track(contenders, 'memory')
        }
    calls = {name: partial(step, batches[name]) for name, step in steps.items()}
    # The first steps, above, have warmed them up.
    clock = time.process_time if args.processor_time else time.perf_counter
    times = interleave(calls, args.rounds, device, warmup=0, clock=clock)

    print(f'\n{args.scenario}, batch {size}, {args.rounds} rounds, {args.amp or "float32"}\n')
    print(to_markdown(times, memory))
    print(f'\n{get_conditions()}')

    _, runner = by_runner(load(scenario, 'skd_kd', args.amp))
    parts = break_down(runner, batch, args.rounds, device)
    print('\n' + ', '.join(f'{name} {value:.1f} ms' for name, value in parts.items()))
    hook = dict(type='mmrazor.StoredTeacherHook', path=tempfile.mkdtemp())
    hook['eval_mode'] = scenario.eval_mode
    _, runner = by_runner(load(scenario, 'skd_kd', args.amp), (hook,))
    runner.train_loop.run_iter(0, batch)
    # 'teacher' now times the reading of the store, which replaces the forward pass.
    reading = break_down(runner, batch, args.rounds, device)
    access = reading['teacher'] / sum(reading.values())
    print(f'\nreading the store {reading["teacher"]:.2f} ms, {access:.2%} of the step')
    if args.out:
        settings = [args.scenario, device.type, args.amp, 'compile' if args.compile else '']
        settings.append('processor_time' if args.processor_time else '')
        stem = '_'.join(filter(None, settings))
        write_json(
            args.out, stem, batch=size, times=times, memory=memory, parts=parts, reading=reading
        )
        plot({'SKD + KD': parts}, args.out / f'{stem}.png')


if __name__ == '__main__':
    run_tool(main)

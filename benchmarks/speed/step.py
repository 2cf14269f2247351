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
from importlib.util import find_spec
from pathlib import Path

import torch

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from .breakdown import break_down, plot
from .memory import call_alone, forget_peak, get_peak, give_back_freed
from .other_loops import by_hand, by_torchdistill
from .report import get_conditions, write_json
from .runners import TEACHER_PARTS, Step, by_runner, frozen_teacher, get_paying_parts
from .scenarios import SCENARIOS, load, make_batch
from .timing import interleave, ratio

BASE = 'mmrazor KD'
STACKED = 'SKD + KD, images in one tensor'
CHANNELS_LAST = 'SKD + KD, channels_last'
BEST = 'SKD + KD, teacher: all of these'
EVERYTHING = 'SKD + KD, everything'
KD_EVERYTHING = 'mmrazor KD, everything'
STORED = 'SKD + KD, stored teacher'
STORED_LAYOUT = 'SKD + KD, stored teacher, channels_last'
OFFLOADED = 'SKD + KD, stored teacher, offloaded'
FLOOR = 'hand-written loop, stored teacher'


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


def get_contenders(args: argparse.Namespace) -> dict[str, Callable[[], Step]]:
    """What is compared: functions that build it, by name.

    Args:
        args (argparse.Namespace): The command line.
    """
    scenario, device = SCENARIOS[args.scenario], torch.device(args.device)

    def runner(method: str, *parts: dict, hooks: tuple[dict, ...] = ()) -> Callable[[], Step]:
        every = dict(eval_mode=scenario.eval_mode)
        hooks += (frozen_teacher([every, *parts]),) if parts else ()
        return lambda: by_runner(load(scenario, method, args.amp), hooks)[0]

    compiled: dict[str, dict] = {'compiled': dict(compile=True)} if args.compile else {}
    if compiled and device.type == 'cuda':
        compiled['compiled, CUDA graphs'] = dict(compile=dict(mode='reduce-overhead'))
    best = [*get_paying_parts(args.device).values(), *compiled.values()]
    layout = (dict(type='mmrazor.ChannelsLastHook'),)
    kd = load(scenario, 'kd', args.amp)

    def stored(method: str, *hooks: dict, path: str = '') -> Callable[[], Step]:
        hook = dict(type='mmrazor.StoredTeacherHook', path=path or tempfile.mkdtemp())
        return runner(method, hooks=(*hooks, dict(hook, eval_mode=scenario.eval_mode)))

    def offloaded() -> Step:
        hook = dict(type='mmrazor.StoredTeacherHook', path=tempfile.mkdtemp(), offload=True)
        hook['eval_mode'] = scenario.eval_mode
        step, runner = by_runner(load(scenario, 'skd_kd', args.amp), (hook,))

        def call(batch: dict) -> None:
            step(batch)
            if runner.iter == 1:  # It has filled the store; what follows is another epoch.
                runner.call_hook('before_train_epoch')

        return call

    def storing() -> Step:
        path = tempfile.mkdtemp()
        step = stored('skd_kd', path=path)()

        def store(batch: dict) -> None:
            for rows in Path(path).glob('*.rows'):
                rows.unlink()
            step(batch)

        return store

    contenders = {
        BASE: runner('kd'),
        'hand-written loop': lambda: by_hand(kd, device)[0],
        'torchdistill': lambda: by_torchdistill(kd, device)[0],
        'SKD + KD': runner('skd_kd'),
        'DKD': runner('dkd'),
        'SKD + DKD': runner('skd_dkd'),
        STACKED: runner('skd_kd'),
        CHANNELS_LAST: runner('skd_kd', hooks=layout),
        **{
            f'SKD + KD, teacher: {name}': runner('skd_kd', part)
            for name, part in {**TEACHER_PARTS, **compiled}.items()
        },
        BEST: runner('skd_kd', *best),
        EVERYTHING: runner('skd_kd', *best, hooks=layout),
        KD_EVERYTHING: runner('kd', *best, hooks=layout),
        FLOOR: lambda: by_hand(kd, device, stored=True)[0],
        'mmrazor KD, stored teacher': stored('kd'),
        'SKD + KD, teacher is stored': storing,
        STORED: stored('skd_kd'),
        STORED_LAYOUT: stored('skd_kd', *layout),
        OFFLOADED: offloaded,
    }
    # torchdistill has no autocast.
    if args.amp or not find_spec('torchdistill'):
        del contenders['torchdistill']
    chosen = [BASE, *args.only] if args.only else contenders
    return {name: call for name, call in contenders.items() if name in chosen}


def collate(name: str, batch: dict) -> dict:
    """The batch that a contender is given.

    Args:
        name (str): The contender.
        batch (dict): With a list of images.

    Returns:
        dict: The same, or its images in one tensor, as from ``default_collate``.
    """
    stacked = name in (STACKED, EVERYTHING, KD_EVERYTHING)
    return dict(batch, inputs=torch.stack(batch['inputs'])) if stacked else batch


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

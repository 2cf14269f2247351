"""A training step of KD and of SKD, against mmrazor's and a hand-written loop.

Usage:
    python -m benchmarks.speed.step --scenario resnet [--rounds 20] [--device cuda]
        [--amp bfloat16] [--compile] [--out DIR]

``torchdistill`` is compared where it is installed (``pip install torchdistill``).
"""

import argparse
import copy
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

import skd_mmrazor  # noqa: F401

from .breakdown import break_down, plot
from .contenders import (
    SCENARIOS,
    TEACHER_PARTS,
    Step,
    by_hand,
    by_runner,
    by_torchdistill,
    frozen_teacher,
    get_paying_parts,
    load,
    make_batch,
)
from .memory import call_alone, get_peak
from .report import get_conditions, write_json
from .timing import interleave, ratio

BASE = 'mmrazor KD'
BEST = 'SKD + KD, teacher: all of these'


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--scenario', choices=list(SCENARIOS), default='resnet')
    add('--rounds', type=int, default=20, help='steps of each contender that are timed')
    add('--batch-size', type=int)
    add('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    add('--amp', choices=['bfloat16', 'float16'], default='', help='autocast of all contenders')
    add('--compile', action='store_true', help='add a compiled teacher')
    add('--out', type=Path, help='write the results as JSON and draw the breakdown')
    return parser.parse_args()


def get_contenders(args: argparse.Namespace) -> dict[str, Callable[[], Step]]:
    """What is compared: functions that build it, by name.

    Args:
        args (argparse.Namespace): The command line.
    """
    scenario, device = SCENARIOS[args.scenario], torch.device(args.device)

    def runner(method: str, *parts: dict) -> Callable[[], Step]:
        every = dict(eval_mode=scenario.eval_mode)
        hooks = (frozen_teacher([every, *parts]),) if parts else ()
        return lambda: by_runner(load(scenario, method, args.amp), hooks)[0]

    compiled = {'compiled': dict(compile=True)} if args.compile else {}
    kd = load(scenario, 'kd', args.amp)
    contenders = {
        BASE: runner('kd'),
        'hand-written loop': lambda: by_hand(kd, device)[0],
        'torchdistill': lambda: by_torchdistill(kd, device)[0],
        'SKD + KD': runner('skd_kd'),
        'SKD + DKD': runner('skd_dkd'),
        **{
            f'SKD + KD, teacher: {name}': runner('skd_kd', part)
            for name, part in {**TEACHER_PARTS, **compiled}.items()
        },
        BEST: runner('skd_kd', *get_paying_parts(args.device).values(), *compiled.values()),
    }
    # It has no autocast of its own.
    if args.amp or not find_spec('torchdistill'):
        del contenders['torchdistill']
    return contenders


def measure_memory(args: argparse.Namespace, name: str, size: int) -> float:
    """Peak memory of three steps of a contender, in MiB.

    Args:
        args (argparse.Namespace): The command line.
        name (str): The contender.
        size (int): Images a step.
    """
    batch = make_batch(SCENARIOS[args.scenario], size)
    step = get_contenders(args)[name]()
    for _ in range(3):
        step(copy.deepcopy(batch))
    return get_peak(torch.device(args.device))


def main() -> None:
    """Times everything and prints the table as Markdown."""
    args = parse_args()
    scenario = SCENARIOS[args.scenario]
    size = args.batch_size or (scenario.batch if args.device == 'cpu' else scenario.gpu_batch)
    batch = make_batch(scenario, size)
    contenders = get_contenders(args)
    steps = {name: build() for name, build in contenders.items()}
    calls = {n: lambda step=step: step(copy.deepcopy(batch)) for n, step in steps.items()}
    times = interleave(calls, args.rounds, torch.device(args.device))
    memory = {name: call_alone(measure_memory, args, name, size) for name in contenders}

    print(f'\n{args.scenario}, batch {size}, {args.rounds} rounds, {args.amp or "float32"}\n')
    print(f'| a training step | ms | ratio to {BASE} (quartiles) | peak MiB |\n|---|---|---|---|')
    for name, values in times.items():
        median, low, high = ratio(values, times[BASE])
        milliseconds = torch.tensor(values).median().item()
        spread = f'{median:.3f} ({low:.3f} to {high:.3f})'
        print(f'| {name} | {milliseconds:.1f} | {spread} | {memory[name]:.0f} |')
    print(f'\n{get_conditions()}')

    _, runner = by_runner(load(scenario, 'skd_kd', args.amp))
    parts = break_down(runner, batch, args.rounds, torch.device(args.device))
    print('\n' + ', '.join(f'{name} {value:.1f} ms' for name, value in parts.items()))
    if args.out:
        stem = '_'.join(filter(None, [args.scenario, args.device, args.amp]))
        write_json(args.out, stem, batch=size, times=times, memory=memory, parts=parts)
        plot(parts, args.out / f'{stem}.png')


if __name__ == '__main__':
    main()

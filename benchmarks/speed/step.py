"""A training step of KD and of SKD, against mmrazor's and a hand-written loop.

Usage:
    python -m benchmarks.speed.step --scenario resnet [--rounds 20] [--device cuda]
        [--amp bfloat16] [--compile] [--out DIR]

``torchdistill`` is compared where it is installed (``pip install torchdistill``).
"""

import argparse
import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

import skd_mmrazor  # noqa: F401

from ..accuracy.summary import get_machine
from .breakdown import break_down, plot
from .contenders import SCENARIOS, Step, by_hand, by_runner, by_torchdistill, load, make_batch
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
    add('--only', help='measure the peak memory of this contender, and stop')
    return parser.parse_args()


def get_contenders(args: argparse.Namespace) -> dict[str, Callable[[], Step]]:
    """What is compared: functions that build it, by name.

    Args:
        args (argparse.Namespace): The command line.
    """
    scenario, device = SCENARIOS[args.scenario], torch.device(args.device)

    def runner(method: str, **teacher: object) -> Callable[[], Step]:
        parts = dict(fold_bn=False, skip_loss=False)
        hooks = (dict(type='mmrazor.FrozenTeacherHook', **{**parts, **teacher}),) if teacher else ()
        return lambda: by_runner(load(scenario, method, args.amp), hooks)[0]

    parts = {
        'batch norm folded': dict(fold_bn=True),
        'no loss': dict(skip_loss=True),
        'channels_last': dict(channels_last=True),
        'bfloat16': dict(dtype='bfloat16'),
    }
    together = {key: value for part in parts.values() for key, value in part.items()}
    if args.device == 'cpu' and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        # Without instructions for it a processor loses by bfloat16.
        del together['dtype']
    if args.compile:
        parts['compiled'] = dict(compile=True)
        together['compile'] = True
    kd = load(scenario, 'kd', args.amp)
    return {
        BASE: runner('kd'),
        'hand-written loop': lambda: by_hand(kd, device),
        'torchdistill': lambda: by_torchdistill(kd, device),
        'SKD + KD': runner('skd_kd'),
        'SKD + DKD': runner('skd_dkd'),
        **{f'SKD + KD, teacher: {name}': runner('skd_kd', **part) for name, part in parts.items()},
        BEST: runner('skd_kd', **together),
    }


def peak_memory(args: argparse.Namespace, name: str) -> float:
    """Peak memory of a contender in a process of its own, in MiB."""
    command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.speed.step', *sys.argv[1:]]
    result = subprocess.run([*command, '--only', name], check=True, capture_output=True, text=True)
    return float(result.stdout.splitlines()[-1])


def measure_memory(step: Step, batch: dict, device: str) -> float:
    """Makes three steps; gives the peak of the GPU's memory, or of the process's."""
    for _ in range(3):
        step(copy.deepcopy(batch))
    if device == 'cpu':
        # Not getrusage: it begins with the peak of the parent.
        (peak,) = re.findall(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())
        return int(peak) / 1024
    return torch.cuda.max_memory_allocated() / 2**20


def main() -> None:
    """Times everything and prints the table as Markdown."""
    args = parse_args()
    scenario = SCENARIOS[args.scenario]
    size = args.batch_size or (scenario.batch if args.device == 'cpu' else scenario.gpu_batch)
    batch = make_batch(scenario, size)
    contenders = get_contenders(args)
    # It has no autocast of its own.
    if args.amp or not find_spec('torchdistill'):
        del contenders['torchdistill']
    if args.only:
        print(measure_memory(contenders[args.only](), batch, args.device))
        return
    steps = {name: build() for name, build in contenders.items()}
    calls = {n: lambda step=step: step(copy.deepcopy(batch)) for n, step in steps.items()}
    times = interleave(calls, args.rounds, torch.device(args.device))
    memory = {name: peak_memory(args, name) for name in contenders}

    print(f'\n{args.scenario}, batch {size}, {args.rounds} rounds, {args.amp or "float32"}\n')
    print(f'| a training step | ms | ratio to {BASE} (quartiles) | peak MiB |\n|---|---|---|---|')
    for name, values in times.items():
        median, low, high = ratio(values, times[BASE])
        milliseconds = torch.tensor(values).median().item()
        spread = f'{median:.3f} ({low:.3f} to {high:.3f})'
        print(f'| {name} | {milliseconds:.1f} | {spread} | {memory[name]:.0f} |')
    print(f'\n{get_machine()}, {torch.get_num_threads()} threads')

    _, runner = by_runner(load(scenario, 'skd_kd', args.amp))
    parts = break_down(runner, batch, args.rounds, torch.device(args.device))
    print('\n' + ', '.join(f'{name} {value:.1f} ms' for name, value in parts.items()))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        stem = '_'.join(filter(None, [args.scenario, args.device, args.amp]))
        content = dict(machine=get_machine(), batch=size, times=times, memory=memory, parts=parts)
        (args.out / f'{stem}.json').write_text(json.dumps(content, indent=1) + '\n')
        plot(parts, args.out / f'{stem}.png')


if __name__ == '__main__':
    main()

"""The training steps that ``step.py`` compares."""

import argparse
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from .other_loops import by_hand, by_torchdistill
from .runners import TEACHER_PARTS, Step, by_runner, frozen_teacher, get_paying_parts
from .scenarios import SCENARIOS, load

BASE = 'mmrazor KD'
STACKED = 'SKD + KD, images in one tensor'
CHANNELS_LAST = 'SKD + KD, channels_last'
BEST = 'SKD + KD, teacher: all of these'
EVERYTHING = 'SKD + KD, everything'
KD_EVERYTHING = 'mmrazor KD, everything'
STORED = 'SKD + KD, stored teacher'
STORED_LAYOUT = 'SKD + KD, stored teacher, channels_last'
OFFLOADED = 'SKD + KD, stored teacher, offloaded'
OFFLOADED_LAYOUT = 'SKD + KD, stored teacher, channels_last, offloaded'
FLOOR = 'hand-written loop, stored teacher'


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

    def offloaded(*hooks: dict) -> Step:
        hook = dict(type='mmrazor.StoredTeacherHook', path=tempfile.mkdtemp(), offload=True)
        hook['eval_mode'] = scenario.eval_mode
        step, runner = by_runner(load(scenario, 'skd_kd', args.amp), (*hooks, hook))

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
        OFFLOADED_LAYOUT: lambda: offloaded(*layout),
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

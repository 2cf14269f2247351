"""SKD against a config's own training step, in segmentation and detection.

Example:
    python -m benchmarks.speed.dense --scenarios cityscapes ade20k --steps 3

Needs the environment of ``benchmarks/compatibility/dense_environment.sh``. Networks and
sizes are the configs'; batches are of two images of noise, weights are random. Each row is
measured in a process of its own, in CPU time. ``--alone`` measures only a forward and a
backward pass of the simplifier, on logits of the configs' shapes.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from benchmarks.compatibility import run_dense_configs as dense
from skd_mmrazor.engine.hooks import FrozenTeacherHook
from skd_mmrazor.models import AttentionSimplifierConnector
from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

from .memory import call_alone, forget_peak, get_peak, give_back_freed
from .report import get_conditions
from .timing import time_call

CONFIGS = Path(__file__).parents[2] / 'configs'
# The config with SKD, the package, height and width of an image, and the logits.
SCENARIOS = {
    'cityscapes': (
        'segmentation/skd_cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py',
        *('mmseg', (512, 1024), (2, 19, 64, 128)),
    ),
    'ade20k': (
        'segmentation/skd_cwd_logits_pspnet_r101-d8_pspnet_r18-d8_4xb4-80k_ade20k-512x512.py',
        *('mmseg', (512, 512), (2, 150, 64, 64)),
    ),
    'coco': (
        'detection/skd_cwd_fpn_retina_r101_retina_r50_1x_coco.py',
        *('mmdet', (800, 1344), (18, 80, 22400, 1)),
    ),
}
# mmrazor's own algorithm for the pyramid, which does not run the teacher's head.
PYRAMID = 'FpnTeacherDistill'
# As ``samples``, with a teacher that runs no further than it is recorded.
FROZEN = 'FrozenTeacherHook'
VARIANTS = (PYRAMID, 'plain', 'samples', FROZEN, 'classes')
CPU = torch.device('cpu')


def make_step(scenario: str, variant: str) -> Callable[[], object]:
    """A training step, as a function.

    Args:
        scenario (str): One of ``SCENARIOS``.
        variant (str): ``'plain'`` is the config without SKD, with the same algorithm, and
            ``PYRAMID`` with that; ``FROZEN`` adds that hook to ``'samples'``; the others
            are ``attend_over`` of the simplifier.
    """
    name, package, size, _ = SCENARIOS[scenario]
    cfg = Config.fromfile(CONFIGS / name)
    dense.drop_weights(cfg.model)
    if variant == PYRAMID:
        cfg.model.type = PYRAMID
    if variant in ('plain', PYRAMID):
        cfg.model.distiller.type = 'ConfigurableDistiller'
        del cfg.model.distiller.simplifier
    else:
        cfg.model.distiller.simplifier.attend_over = 'samples' if variant == FROZEN else variant
    torch.manual_seed(0)
    model = dense.build(cfg)
    if hasattr(model.data_preprocessor, 'size'):
        model.data_preprocessor.size = size
    batch = dense.make_batch(package, size)
    parameters = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(torch.optim.SGD(parameters, lr=1e-6, momentum=0.9))
    if variant == FROZEN:
        runner: Any = SimpleNamespace(model=model, logger=logging.getLogger(FROZEN))
        FrozenTeacherHook(channels_last=True).before_train_iter(runner, 0, batch)
    return lambda: model.train_step(batch, wrapper)


def make_pass(scenario: str, variant: str) -> Callable[[], object]:
    """A forward and a backward pass of the simplifier alone, as a function.

    Args:
        scenario (str): One of ``SCENARIOS``.
        variant (str): ``'samples'`` or ``'classes'``.
    """
    shape = SCENARIOS[scenario][-1]
    simplifier = AttentionSimplifierConnector(shape[1], attend_over=variant)
    nn.init.ones_(simplifier.lam_logit)  # At λ = 0 most gradients are 0.
    logits, gradient = torch.randn(2, *shape)
    return lambda: simplifier(logits).backward(gradient)


def measure(
    make: Callable[[str, str], Callable], scenario: str, variant: str, steps: int
) -> tuple[float, float]:
    """Makes some steps, in a process of its own.

    Args:
        make (Callable): Makes the function that is measured.
        scenario (str): One of ``SCENARIOS``.
        variant (str): One of ``VARIANTS``.
        steps (int): Steps, of which the last is measured.

    Returns:
        tuple[float, float]: CPU time in seconds, and peak memory of the process in MiB.
    """
    give_back_freed()
    step = make(scenario, variant)
    for _ in range(steps - 1):
        step()
    forget_peak(CPU)
    return time_call(step, CPU, time.process_time) / 1000, get_peak(CPU)


def main() -> None:
    """Measures everything and prints the table as Markdown."""
    parser = make_parser(__doc__)
    parser.add_argument('--scenarios', nargs='+', choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument('--steps', type=int, default=3, help='the last is measured')
    parser.add_argument('--alone', action='store_true', help='the simplifier alone')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=VARIANTS)
    args = parser.parse_args()
    make = make_pass if args.alone else make_step
    skipped = ('plain', PYRAMID, FROZEN) if args.alone else ()
    print('| scenario | variant | s | ratio | peak, MiB | ratio |\n|---|---|---|---|---|---|')
    for scenario in track(args.scenarios, 'scenarios'):
        first: tuple[float, float] = (0, 0)
        for variant in args.variants:
            if variant in skipped or (variant == PYRAMID and scenario != 'coco'):
                continue
            seconds, peak = call_alone(measure, make, scenario, variant, args.steps)
            first = first if any(first) else (seconds, peak)
            ratios = (seconds / first[0], peak / first[1])
            print(
                f'| {scenario} | {variant} | {seconds:.2f} | {ratios[0]:.3f} '
                f'| {peak:.0f} | {ratios[1]:.3f} |',
                flush=True,
            )
    print(f'\n{get_conditions()}')


if __name__ == '__main__':
    run_tool(main)

"""The number of operators that SKD adds to a training step, forward and backward.

Counts the calls of ``aten::`` in torch's profiler, in a step that is not logged and in
one that is. On a GPU each is a kernel to launch, which is what a small step consists of.

Example:
    python -m benchmarks.speed.operators
"""

from mmengine.optim import build_optim_wrapper
from mmrazor.registry import MODELS
from torch.profiler import ProfilerActivity, profile

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser

from .scenarios import SCENARIOS, load, make_batch


def count(method: str, log_interval: int = 10) -> int:
    """Counts the operators of one step of ResNet-32x4 → ResNet-8x4.

    Args:
        method (str): ``'kd'``, ``'dkd'``, ``'skd_kd'`` or ``'skd_dkd'``.
        log_interval (int): Of ``SKDDistiller``; 1 computes the statistics. Defaults to
            10.
    """
    cfg = load(SCENARIOS['cifar'], method)
    if method.startswith('skd'):
        cfg.model.distiller.log_interval = log_interval
    model = MODELS.build(cfg.model)
    model.train()
    optim_wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
    data = make_batch(SCENARIOS['cifar'], 8)
    for _ in range(2):
        model.train_step(data, optim_wrapper)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        model.train_step(data, optim_wrapper)
    return sum(event.name.startswith('aten::') for event in profiled.events())


def main() -> None:
    """Prints the table."""
    make_parser(__doc__).parse_args()
    print('| method | operators of a step | more with SKD | more with SKD, logged |')
    print('|---|---|---|---|')
    for method in ('kd', 'dkd'):
        base = count(method)
        more = (count(f'skd_{method}', interval) - base for interval in (10, 1))
        print(f'| {method.upper()} | {base} |', ' | '.join(map(str, more)), '|')


if __name__ == '__main__':
    main()

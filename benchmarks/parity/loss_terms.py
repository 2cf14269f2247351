r"""Compare every loss term with the references' own functions, in float64.

On the same images, networks and connectors: the weighted term of the labels and that of the
distillation, ours over theirs, minus 1.

Example:
    git clone https://github.com/megvii-research/mdistiller
    git clone https://github.com/HobbitLong/RepDistiller
    python -m benchmarks.parity.loss_terms --mdistiller mdistiller \
        --repdistiller RepDistiller
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

from .mdistiller import MDISTILLER, MDistiller, Overhaul
from .ours import FEATURES, PAIRS, Ours, make_batch
from .repdistiller import REPDISTILLER, RepDistiller

LOGITS = ('kd', 'dkd')  # These have configs for all pairs.


def parse_args(description: str = __doc__) -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(description)
    add = parser.add_argument
    for name in ('mdistiller', 'repdistiller', 'overhaul'):
        add(f'--{name}', type=Path, help='a checkout')
    methods = [*MDISTILLER, *(f'{name}-kd' for name in REPDISTILLER if name != 'kd')]
    add('--methods', nargs='+', choices=methods, default=methods, metavar='METHOD')
    add('--pairs', nargs='+', choices=PAIRS, default=PAIRS, metavar='PAIR', help='of KD and DKD')
    add('--batch-size', type=int, default=8)
    args = parser.parse_args()
    if not (args.mdistiller or args.repdistiller):
        parser.error('expected a checkout: --mdistiller, --repdistiller or both')
    if args.overhaul and not args.mdistiller:
        parser.error('--overhaul: expected --mdistiller beside it, of which it takes the networks')
    return args


def get_references(args: argparse.Namespace) -> Iterator[tuple[str, str, str, Callable[[], Any]]]:
    """What to compare with: method, pair and reference by name, and what builds it."""
    for method in args.methods:
        for pair in args.pairs if method in LOGITS else [FEATURES]:
            if args.mdistiller and method in MDISTILLER:
                build = partial(MDistiller, args.mdistiller, method, pair)
                yield method, pair, 'mdistiller', build
            if args.repdistiller and method.removesuffix('-kd') in REPDISTILLER:
                build = partial(RepDistiller, args.repdistiller, method, pair)
                yield method, pair, 'RepDistiller', build
            if args.overhaul and method == 'ofd':
                build = partial(Overhaul, args.overhaul, args.mdistiller, pair)
                yield method, pair, 'overhaul-distillation', build


def main() -> None:
    """Prints the table."""
    args = parse_args()
    print(
        '| method | pair | reference | labels, theirs | ours / theirs - 1 | distillation, theirs |',
        end='',
    )
    print(' ours / theirs - 1 |\n' + '|---' * 7 + '|')
    for method, pair, name, build in track(get_references(args), 'loss terms'):
        torch.manual_seed(0)
        reference = build()
        ours = Ours(method, pair, reference)
        reference.double()
        batch = make_batch(1, args.batch_size)
        cells = [method, pair, name]
        for their, our in zip(reference.compute(batch), ours.compute(batch), strict=True):
            cells += [f'{their:.6g}', f'{our / their - 1:.0e}']
        print(f'| {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()

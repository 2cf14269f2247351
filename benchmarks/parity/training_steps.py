"""Train by the references' own loops and by this project's, and compare the students.

Both start from the same weights and take the same images, in float64. The table has the
largest difference after 1, 5 and 20 steps among the student's parameters, over the largest
of them, and the same of its running statistics. Rounding grows by an order of magnitude or
more a step on ShuffleNet students: a reference against itself, with weights changed by
2e-16, ends as far apart (0.1 to 0.5 after 20). Compare those after one step.

Example:
    git clone https://github.com/megvii-research/mdistiller
    python -m benchmarks.parity.training_steps --mdistiller mdistiller --methods kd dkd
"""

import torch

from skd_mmrazor.utils.progress import track

from .loss_terms import get_references, parse_args
from .ours import Ours, make_batch

STEPS = (1, 5, 20)


def main() -> None:
    """Prints the table."""
    args = parse_args(__doc__)
    args.overhaul = None  # Its loop is a script of another recipe.
    heads = [f'{what}, {n}' for what in ('parameters', 'statistics') for n in STEPS]
    print(
        f'| method | pair | reference | {" | ".join(heads)} |\n' + '|---' * (3 + len(heads)) + '|'
    )
    for method, pair, name, build in track(get_references(args), 'trainings'):
        torch.manual_seed(0)
        reference = build()
        ours = Ours(method, pair, reference)
        reference.double()
        errors = []
        for step in range(1, STEPS[-1] + 1):
            batch = make_batch(step, args.batch_size)
            reference.step(batch)
            ours.step(batch)
            if step in STEPS:
                errors.append(ours.compare(reference))
        cells = [f'{error:.0e}' for kind in zip(*errors, strict=True) for error in kind]
        print(f'| {method} | {pair} | {name} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()

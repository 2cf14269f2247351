r"""Train configs over seeds and compare their accuracy, paired by seed.

A finished run is not repeated, so the command can be killed and started again.
For each ``skd_x`` the table gives the paired difference to ``x``, if both are
given; with ``--base``, the difference of each config to the one of that name.

Example:
    python -m benchmarks.accuracy.compare --seeds 5 --jobs 2 \
        configs/digits/kd_resnet14-w16_resnet10-w4_60e_digits.py \
        configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py
"""

import argparse
from pathlib import Path

from skd_mmrazor.utils.command_line import make_parser, output_file, run_tool

from .runs import add_arguments, make_runs, train_all
from .summary import summarise, to_markdown, write_csv


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--base', help='name of the config that all are compared with')
    parser.add_argument('--out', type=output_file('.csv'), help='write every result as CSV')
    add_arguments(parser, Path('work_dirs/compare'))
    args = parser.parse_args()
    if args.base not in (None, *(config.stem for config in args.configs)):
        parser.error(f'--base: {args.base!r}, expected the name of a config that is given')
    return args


def main() -> None:
    """Runs everything and prints the table as Markdown."""
    args = parse_args()
    runs = make_runs(args.configs, args)
    failed = train_all(runs, [''] * args.jobs)
    rows = summarise(runs, args.metric, args.base)
    print('\n' + to_markdown(rows, args.metric))
    if args.out:
        write_csv(rows, args.out)
    if failed:
        raise SystemExit(f'{len(failed)} of {len(runs)} runs failed.')


if __name__ == '__main__':
    run_tool(main)

r"""Test a model: mmrazor's tool, with the plugin and its safeguards imported first.

A checkpoint has to fit the student and the teacher of the config, each by itself.

Example:
    python tools/test.py configs/digits/resnet14-w16_60e_digits.py \
        work_dirs/resnet14-w16_60e_digits/epoch_60.pth
"""

import argparse

from mmengine.runner import Runner
from train import add_common_arguments, load_config

from skd_mmrazor.utils.command_line import make_parser, run_tool


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='test config file path')
    parser.add_argument('checkpoint', help="checkpoint file, or 'none'")
    parser.add_argument(
        '--work-dir', help='the directory to save the file containing evaluation metrics'
    )
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Builds the runner from the config and tests the checkpoint."""
    args = parse_args()
    cfg = load_config(args)
    cfg.load_from = None if args.checkpoint == 'none' else args.checkpoint
    Runner.from_cfg(cfg).test()


if __name__ == '__main__':
    run_tool(main)

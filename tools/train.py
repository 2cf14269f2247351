"""Train an algorithm: mmrazor's tool, with the plugin and its safeguards imported first.

So configs that were written for mmrazor load unmodified, and a config may have
``mmcls::`` files as its bases. ``docs/importing.md`` explains the safeguards.

Example:
    python tools/train.py configs/digits/resnet14-w16_60e_digits.py
    python tools/train.py configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py --resume
"""

import argparse
import os
import os.path as osp
import shlex

from mmengine.config import Config, ConfigDict
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

import skd_mmrazor.safeguards  # noqa: F401  (before any config is parsed)
from skd_mmrazor.utils.command_line import add_cfg_options, make_parser, read_config, run_tool


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='train config file path')
    parser.add_argument('--work-dir', help='the dir to save logs and models')
    parser.add_argument(
        '--amp', action='store_true', help='enable automatic-mixed-precision training'
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size, relative to auto_scale_lr.base_batch_size',
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='resume from the latest checkpoint in the work dir automatically',
    )
    add_common_arguments(parser)
    return parser.parse_args()


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that training and testing share."""
    add_cfg_options(parser)
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='job launcher',
    )
    # torchrun sets the environment variable, older launchers pass the argument.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config and applies the arguments that training and testing share."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    cfg.launcher = args.launcher
    # CLI > config > name of the config file
    name = osp.splitext(osp.basename(args.config))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join('work_dirs', name)
    return cfg


def enable_amp(optim_wrapper: ConfigDict) -> None:
    """Turns the config of an ``OptimWrapper`` into that of an ``AmpOptimWrapper``.

    In a data-free config this is the student's. As in mmrazor, the generator's stays.

    Args:
        optim_wrapper (ConfigDict): ``optim_wrapper`` of a config.

    Raises:
        SystemExit: It is of another type.
    """
    optim_wrapper = optim_wrapper.get('architecture', optim_wrapper)
    kind = optim_wrapper.get('type', 'OptimWrapper')
    kind = getattr(kind, '__name__', kind)  # A class, in a Python-style config.
    if kind == 'AmpOptimWrapper':
        print_log('AMP training is already enabled in your config.', logger='current', level=30)
        return
    if kind != 'OptimWrapper':
        raise SystemExit(
            f"--amp: optim_wrapper.type={kind!r}, expected 'OptimWrapper' or 'AmpOptimWrapper'."
        )
    optim_wrapper.type = 'AmpOptimWrapper'
    optim_wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Switches mmengine's scaling of the learning rate on."""
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise SystemExit(
            '--auto-scale-lr: auto_scale_lr.base_batch_size is not in the config, expected the '
            'batch size that its learning rate was set for.'
        )
    cfg.auto_scale_lr.enable = True


def expect_accelerator() -> None:
    """Makes sure that there is a device that mmengine's ``AmpOptimWrapper`` supports.

    Raises:
        SystemExit: There are only CPUs.
    """
    kinds = (is_cuda_available, is_npu_available, is_mlu_available, is_musa_available)
    if not any(is_available() for is_available in kinds):
        raise SystemExit('--amp: found CPUs alone, expected a GPU, NPU, MLU or MUSA device.')


def describe_result(runner: Runner) -> str:
    """Says where the model is that was trained, and how to use it.

    Args:
        runner (Runner): The runner, after training. Of several processes the first.

    Returns:
        str: Two sentences with a command; empty where no checkpoint was written.
    """
    saved = [runner.message_hub.get_info(f'{which}_ckpt') for which in ('best', 'last')]
    checkpoint = next((path for path in saved if path and osp.exists(path)), None)
    if checkpoint is None:
        return ''
    # Not the file that was given: here --cfg-options are in it.
    config = osp.join(runner.work_dir, osp.basename(runner.cfg.filename))
    folder = osp.relpath(osp.dirname(__file__))
    if 'distiller' in runner.cfg.model:
        text = f'The student is in {checkpoint}, beside its teacher. To take it out for use'
        tool = osp.join(folder, 'model_converters', 'convert_kd_ckpt_to_student.py')
        options = ['--out-path', osp.join(runner.work_dir, 'student')]
    else:
        text = f'The model is in {checkpoint}. To test it'
        tool, options = osp.join(folder, 'test.py'), []
    return f'{text}: {shlex.join(["python", tool, config, checkpoint, *options])}'


def main() -> None:
    """Builds the runner from the config and trains."""
    args = parse_args()
    cfg = load_config(args)
    if args.amp:
        expect_accelerator()
        enable_amp(cfg.optim_wrapper)
    if args.auto_scale_lr:
        enable_auto_scale_lr(cfg)
    cfg.resume = args.resume or cfg.get('resume', False)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    runner.train()
    if is_main_process() and (text := describe_result(runner)):
        runner.logger.info(text)


if __name__ == '__main__':
    run_tool(main)

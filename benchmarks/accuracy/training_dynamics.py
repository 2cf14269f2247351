r"""Train configs with one seed, and draw how their simplifiers changed during training.

In addition to the log of SKD, it draws the norms of the gradients of the student and
the simplifier, and the entropy of the attention. Recording them does not change the
training: the runs end as those of ``benchmarks.accuracy.compare``.

Example:
    python -m benchmarks.accuracy.training_dynamics --out dynamics.png \
        configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py
"""

import argparse
import json
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from torch import nn

import skd_mmrazor  # noqa: F401  (before any config is parsed)
from skd_mmrazor.engine.utils import get_model
from skd_mmrazor.utils.command_line import make_parser, output_file, run_tool, setting
from skd_mmrazor.utils.progress import track

from .scalars import read_curves

PANELS = {
    'distill.simplified_entropy': 'entropy of the target, nats',
    'distill.top1_agreement': 'agreement with the teacher',
    'distill.loss_kl': 'distance to the student, the KL loss',
    'distill.lam': 'λ',
    'attention_entropy': 'entropy of the attention, nats',
    'grad_norm_student': "norm of the student's gradient",
    'grad_norm_simplifier': "norm of the simplifier's gradient",
    'accuracy/top1': 'top-1 on the test, %',
}


class TrainingDynamicsHook(Hook):
    """Logs both gradients' norms, and the attention's entropy, of every step."""

    def before_train(self, runner: Runner) -> None:
        """Watches the optimizer and, where there is one, the simplifier."""
        model = get_model(runner)
        parts = {'student': model.architecture}
        if simplifier := getattr(model.distiller, 'simplifier', None):
            parts['simplifier'] = simplifier
            simplifier.register_forward_hook(_log_attention)

        def log_norms(*_) -> None:
            for name, part in parts.items():
                _log(f'grad_norm_{name}', _norm(part))

        # The optimizer wrapper clears the gradients before mmengine's hooks are called.
        runner.optim_wrapper.optimizer.register_step_pre_hook(log_norms)


def _norm(module: nn.Module) -> torch.Tensor:
    # An infinite bound clips nothing.
    return nn.utils.clip_grad_norm_(module.parameters(), math.inf)


def _log_attention(simplifier: nn.Module, inputs: tuple, _) -> None:
    weights = simplifier.get_attention(inputs[0].detach())
    _log('attention_entropy', torch.special.entr(weights).sum(dim=-1).mean())


def _log(name: str, value: torch.Tensor) -> None:
    MessageHub.get_current_instance().update_scalar(f'train/{name}', value)


def train(config: Path, work_dir: Path, args: argparse.Namespace) -> None:
    """Trains a config with a :class:`TrainingDynamicsHook`."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(args.cfg_options)
    cfg.merge_from_dict({'work_dir': str(work_dir), 'randomness.seed': args.seed})
    runner = Runner.from_cfg(cfg)
    runner.register_hook(TrainingDynamicsHook())
    runner.train()


def plot(curves: dict[str, dict[str, list[tuple[float, float]]]], path: Path) -> None:
    """Draws a panel for each quantity, with a line for each config that has it."""
    figure = Figure(figsize=(15, 6.5), layout='constrained')
    axes = figure.subplots(2, 4)
    for ax, (key, title) in zip(axes.flat, PANELS.items(), strict=True):
        for number, (name, found) in enumerate(curves.items()):
            if key in found:
                ax.plot(*zip(*found[key], strict=True), color=f'C{number}', label=name)
        ax.set_title(title, fontsize=10, loc='left')
        ax.set_xlabel('epoch', fontsize=9)
        ax.spines[['top', 'right']].set_visible(False)
    lines = {line.get_label(): line for ax in axes.flat for line in ax.lines}
    figure.legend([*lines.values()], [*lines], loc='outside upper left', ncols=5, frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Trains what has not been trained there yet, and draws."""
    parser = make_parser(__doc__)
    parser.add_argument('configs', nargs='+', type=Path)
    parser.add_argument('--out', type=output_file('.png', '.pdf', '.svg'), required=True)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/training_dynamics'))
    parser.add_argument('--cfg-options', nargs='+', type=setting, action=DictAction, default={})
    args = parser.parse_args()
    curves = {}
    for config in track(args.configs, 'trainings'):
        work_dir = args.work_dir / config.stem
        path = work_dir / 'curves.json'
        if not path.exists():
            train(config, work_dir, args)
            path.write_text(json.dumps(read_curves(work_dir)))
        curves[config.stem] = json.loads(path.read_text())
    plot(curves, args.out)


if __name__ == '__main__':
    run_tool(main)

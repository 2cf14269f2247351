"""Runs a stand-in for each kind of published distillation config.

Adds the three lines of SKD to each, makes two training steps of small networks on noise,
and writes what was simplified to ``docs/compatibility.md``.

Example:
    python -m benchmarks.compatibility.run_kinds
"""

import copy
import warnings

import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample
from mmrazor.registry import MODELS

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

from .kinds import KINDS
from .run_configs import write_section

SKD = dict(type='SKDDistiller', simplifier=dict(type='AttentionSimplifierConnector'))
HEADER = """## Other people's configs, by kind

Written by `python -m benchmarks.compatibility.run_kinds`: a small stand-in of each kind of
published distillation config, with the three lines of SKD and what "besides" says, makes
two training steps.

| logits are recorded by | losses | besides | what is simplified |
|---|---|---|---|
"""


def describe(models: tuple[dict, dict], cfg: dict, besides: dict) -> str:
    """Builds and steps a config.

    Args:
        models (tuple[dict, dict]): Configs of student and teacher.
        cfg (dict): Config of the distiller, without its type.
        besides (dict): What is added to SKD's three lines.

    Returns:
        str: What was simplified, or why it was refused, and what was said.
    """
    algorithm = dict(
        _scope_='mmrazor',
        type='SingleTeacherDistill',
        architecture=models[0],
        teacher=models[1],
        distiller=dict(cfg, **SKD, **besides),
    )
    size = 224 if models[0]['backbone']['type'] == 'VGG' else 64
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        try:
            model = MODELS.build(copy.deepcopy(algorithm))
        except ValueError as error:
            return f'refused: {error}'
        optim_wrapper = build_optim_wrapper(model, dict(optimizer=dict(type='SGD', lr=0.01)))
        for _ in range(2):
            samples = [DataSample().set_gt_label(i) for i in range(4)]
            if models[0]['head']['type'] == 'MultiLabelLinearClsHead':
                samples = [DataSample().set_gt_score(score) for score in torch.eye(10)[:4]]
            data = dict(inputs=torch.randn(4, 3, size, size), data_samples=samples)
            losses = model.train_step(data, optim_wrapper)
            assert all(loss.isfinite() for loss in losses.values()), losses
    simplified = [f'`{name}.{arg}`' for name, arg in model.distiller.simplified_losses.items()]
    ours = [str(w.message) for w in said if str(w.message).startswith('distiller.')]
    return '; '.join([', '.join(simplified), *(f'warned: {text}' for text in ours)])


def main() -> None:
    """Steps all kinds and writes the table."""
    make_parser(__doc__).parse_args()
    torch.manual_seed(0)
    rows = []
    for recorded, losses, models, cfg, besides in track(KINDS, 'kinds'):
        lines = ', '.join(f'`{key}={value}`' for key, value in besides.items())
        found = describe(models, cfg, besides).replace('|', '\\|')
        rows.append(f'| {recorded} | {losses} | {lines} | {found} |')
        print(rows[-1], flush=True)
    write_section(HEADER + '\n'.join(rows) + '\n')


if __name__ == '__main__':
    main()

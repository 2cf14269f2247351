"""Steps mmrazor's configs for segmentation and detection once, on noise.

``python -m benchmarks.compatibility.run_dense_configs`` needs what
``dense_environment.sh`` installs: mmcv with its operators, mmseg, mmdet and mmdet3d. It
builds each config as it is, with the three lines of SKD, and with an algorithm that runs
the teacher's head, and writes what happened to ``docs/compatibility.md``.

Example:
    python -m benchmarks.compatibility.run_dense_configs
"""

from pathlib import Path
from typing import Any

import mmrazor
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmrazor.registry import MODELS
from torch import nn

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

from .run_configs import write_section

FOLDER = Path(mmrazor.__file__).parent / '.mim' / 'configs' / 'distill'
CONFIGS = sorted(
    str(path.relative_to(FOLDER))
    for package in ('mmdet', 'mmdet3d', 'mmseg')
    for path in FOLDER.glob(f'{package}/*/*.py')
)
SIZE = (128, 192)

HEADER = """## Segmentation and detection

Written by `python -m benchmarks.compatibility.run_dense_configs` in the environment of
`benchmarks/compatibility/dense_environment.sh`: mmcv 2.1.0 with its operators, mmdetection
3.3.0, mmsegmentation 1.2.2 and mmdetection3d 1.4.0. Each config makes one training step
of its full-size models on two small images of noise with boxes, masks or labels, by
random weights; batch norm is not synchronised, since that needs a GPU. "With SKD" adds
the same three lines, "and its head" also `type='SingleTeacherDistill'`, where
`FpnTeacherDistill` leaves the teacher's head out.

| config | algorithm | as it is | with SKD | and its head | what is simplified |
|---|---|---|---|---|---|
"""


def load(name: str, skd: bool = False, runs_head: bool = False) -> Config:
    """Reads a config and removes the parts that would be downloaded.

    Args:
        name (str): Path below mmrazor's ``configs/distill``.
        skd (bool): Whether to add SKD. Defaults to False.
        runs_head (bool): Whether to take the algorithm that runs the teacher's head.
            Defaults to False.
    """
    cfg = Config.fromfile(FOLDER / name)
    if skd:
        simplifier = dict(type='AttentionSimplifierConnector')
        cfg.model.distiller.update(type='SKDDistiller', simplifier=simplifier)
    if runs_head:
        cfg.model.type = 'SingleTeacherDistill'
    drop_weights(cfg.model)
    return cfg


def drop_weights(node: Any) -> None:
    """Removes the names of weights from a model's config, at any depth.

    Args:
        node (Any): The config of a model, or a part of it.
    """
    if isinstance(node, dict):
        node.pop('teacher_ckpt', None)
        for key in ('init_cfg', 'pretrained'):
            if key in node:
                node[key] = False if 'cfg_path' in node else None
    parts = node.values() if isinstance(node, dict) else node
    for part in parts if isinstance(node, (dict, list, tuple)) else ():
        drop_weights(part)


def build(cfg: Config) -> nn.Module:
    """Builds the algorithm of a config.

    Args:
        cfg (Config): What :func:`load` returned.
    """
    with DefaultScope.overwrite_default_scope('mmrazor'):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if hasattr(model.data_preprocessor, 'size'):
        model.data_preprocessor.size = SIZE  # mmsegmentation would pad to 512 × 1024.
    model.train()
    return model


def make_batch(package: str, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Two images of noise, as a data loader gives them.

    Args:
        package (str): ``'mmseg'``, ``'mmdet'`` or ``'mmdet3d'``.
        size (tuple[int, int]): Height and width. Defaults to ``SIZE``.
    """
    height, width = size
    if package == 'mmseg':
        from mmseg.structures import SegDataSample

        labels = torch.randint(19, (2, 1, height, width))
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
        for sample in samples:
            sample.set_metainfo(dict(img_shape=size, ori_shape=size))
        images = [torch.randint(256, (3, height, width), dtype=torch.uint8) for _ in samples]
        return dict(inputs=images, data_samples=samples)

    from mmdet.testing import demo_mm_inputs

    shape = (3, height, width)
    classes = 80 if package == 'mmdet' else 10
    data = demo_mm_inputs(2, shape, num_classes=classes, use_box_type=True, with_mask=True)
    if package == 'mmdet3d':
        add_boxes_3d(data)
    return data


def add_boxes_3d(data: dict[str, Any]) -> None:
    """Adds 3D boxes to the 2D ones, as monocular detection has them.

    Args:
        data (dict): A batch of mmdetection. Changed in place.
    """
    from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample

    samples = []
    for old in data['data_samples']:
        plane = old.gt_instances
        plane.bboxes = plane.bboxes.tensor  # This head takes numbers.
        boxes, count = plane.bboxes, len(plane.bboxes)
        space = InstanceData(
            bboxes_3d=CameraInstance3DBoxes(torch.rand(count, 9) + 1, box_dim=9),
            labels_3d=plane.labels,
            centers_2d=(boxes[:, :2] + boxes[:, 2:]) / 2,
            depths=torch.rand(count) * 20 + 1,
            attr_labels=torch.zeros(count, dtype=torch.long),
        )
        sample = Det3DDataSample(gt_instances=plane, gt_instances_3d=space)
        sample.set_metainfo(dict(old.metainfo, cam2img=np.eye(4)))
        samples.append(sample)
    data.update(inputs=dict(img=data['inputs']), data_samples=samples)


def step(model: nn.Module, package: str) -> dict[str, torch.Tensor]:
    """Makes one step of training.

    Args:
        model (nn.Module): What :func:`build` returned.
        package (str): As in :func:`make_batch`.

    Returns:
        dict[str, Tensor]: What is logged.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=1e-6)
    logged = model.train_step(make_batch(package), OptimWrapper(optimizer))
    infinite = [name for name, value in logged.items() if not value.isfinite()]
    if infinite:
        raise FloatingPointError(f'{infinite} are not finite')
    return logged


def describe(name: str, **options: bool) -> tuple[str, str]:
    """Describes what a config does, and what SKD simplifies in it.

    Args:
        name (str): A config of ``CONFIGS``.
        **options: Of :func:`load`.
    """
    torch.manual_seed(0)
    try:
        model = build(load(name, **options))
        step(model, name.split('/')[0])
    except ValueError as error:  # Of several, the last says why.
        return f'refused: {str(error).rpartition("ValueError: ")[2]}', ''
    except Exception as error:
        return f'{type(error).__name__}: {error}', ''
    if not options.get('skd'):
        return 'trains', ''
    simplified = [
        f'`{loss}.{argument}` of `{recorders[records[argument]["recorder"]].source}`'
        for recorders in [model.distiller.teacher_recorders.recorders]
        for loss, records in model.distiller.loss_forward_mappings.items()
        for argument in records
        if records[argument].get('simplify')
    ]
    return 'trains', ', '.join(simplified)


def make_row(name: str) -> str:
    """The row of a config in the table.

    Args:
        name (str): A config of ``CONFIGS``.
    """
    kind = load(name).model.type
    cells = [describe(name), describe(name, skd=True)]
    hides_head = kind == 'FpnTeacherDistill'
    cells.append(describe(name, skd=True, runs_head=True) if hides_head else ('', ''))
    results = ' | '.join(result for result, _ in cells)
    simplified = next((found for _, found in reversed(cells) if found), '')
    return f'| `{name}` | `{kind}` | {results} | {simplified} |\n'


def main() -> None:
    """Runs the configs, and writes the table if these are all."""
    parser = make_parser(__doc__)
    parser.add_argument('configs', nargs='*', default=CONFIGS, help='all by default')
    configs = parser.parse_args().configs
    rows = []
    for name in track(configs, 'configs'):
        rows.append(make_row(name))
        print(rows[-1], end='', flush=True)
    if configs == CONFIGS:
        write_section(HEADER + ''.join(rows))


if __name__ == '__main__':
    main()

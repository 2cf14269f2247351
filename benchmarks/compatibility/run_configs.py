"""Trains mmrazor's own classification configs for two steps, on noise.

Runs each as it is and with the three lines of SKD, and writes what happened to
``docs/compatibility.md``.

Example:
    python -m benchmarks.compatibility.run_configs
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmrazor
from mmengine.config import Config
from mmengine.runner import Runner

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

from .tiny_data import make_cifar, make_imagenet

FOLDER = Path(mmrazor.__file__).parent / '.mim' / 'configs' / 'distill' / 'mmcls'
CONFIGS = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob('*/*.py'))
TABLE = Path(__file__).parents[2] / 'docs' / 'compatibility.md'

HEADER = """## Classification

Written by `python -m benchmarks.compatibility.run_configs`, which trains each config
that mmrazor 1.0.0 installs under `configs/distill/mmcls`: two steps and one
validation, full-size models, noise in the format of ImageNet or CIFAR, batches of
4. The config is loaded as it is; the data root, the length, the schedule and
the teacher's weights (random) are set afterwards. "With SKD" adds `custom_imports`,
`type='SKDDistiller'` and `simplifier=` to it, nothing else.

| config | algorithm | as it is | with SKD | what is simplified |
|---|---|---|---|---|
"""


def make_data(root: Path) -> Path:
    """Writes the data sets that the configs need.

    Args:
        root (Path): Folder to write to.

    Returns:
        Path: The same folder.
    """
    make_imagenet(root / 'imagenet')
    make_cifar(root / 'cifar')
    return root


def load(name: str, data: Path, skd: bool) -> Config:
    """Reads a config and makes it run quickly, without downloaded weights and data.

    Args:
        name (str): Path below mmrazor's ``distill/mmcls``.
        data (Path): What :func:`make_data` wrote.
        skd (bool): Whether to add SKD.

    Returns:
        Config: For two steps and one validation.
    """
    cfg = Config.fromfile(FOLDER / name)
    if skd:
        simplifier = dict(type='AttentionSimplifierConnector')
        kind = 'SKDOFDDistiller' if 'ofd' in name else 'SKDDistiller'
        kind = 'SKDBYOTDistiller' if 'byot' in name else kind
        cfg.model.distiller.update(type=kind, simplifier=simplifier)
    drop_weights(cfg.model)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=4, num_workers=0, persistent_workers=False)
        dataset = loader.dataset
        while 'dataset' in dataset:
            dataset = dataset.dataset
        root = data / ('imagenet' if dataset.type == 'ImageNet' else 'cifar')
        dataset['data_root' if 'data_root' in dataset else 'data_prefix'] = str(root)
    by_epoch = cfg.train_cfg.get('by_epoch', True)
    length = dict(max_epochs=1) if by_epoch else dict(max_iters=2, val_interval=2)
    cfg.train_cfg.update(length)
    cfg.param_scheduler = None
    cfg.randomness = dict(seed=0)
    cfg.log_level = 'ERROR'
    cfg.work_dir = tempfile.mkdtemp(dir=data)
    # mmengine keeps logs and scopes under this name.
    cfg.experiment_name = Path(cfg.work_dir).name
    return cfg


def drop_weights(model: Any) -> None:
    """Removes what would be downloaded from a model's config.

    Args:
        model (ConfigDict): The config of a distillation algorithm.
    """
    model.pop('teacher_ckpt', None)
    model.pop('init_cfg', None)
    for teacher in model.get('teachers', {}).values():
        teacher.pop('ckpt_path')
        teacher.build_cfg.pretrained = False
    teacher = model.get('teacher', {})
    for part in teacher.values():
        if isinstance(part, dict) and (part.get('init_cfg') or {}).get('type') == 'Pretrained':
            del part['init_cfg']
    if 'cfg_path' in teacher:
        teacher.pretrained = False
    elif 'pretrained' in teacher.get('backbone', {}):
        teacher.backbone.pretrained = False
        teacher.head.pop('init_cfg')


def drop_validation(cfg: Config) -> None:
    """Removes validation and test from a config.

    Args:
        cfg (Config): Any config. Changed in place.
    """
    for part in ('val', 'test'):
        cfg.update({f'{part}_{key}': None for key in ('dataloader', 'cfg', 'evaluator')})


def train(cfg: Config, before: Callable[[Runner], Any] = lambda runner: None) -> Runner:
    """Runs a config.

    Args:
        cfg (Config): What :func:`load` returned.
        before (Callable): Called with the runner before it trains.

    Returns:
        Runner: After training.
    """
    runner = Runner.from_cfg(cfg)
    before(runner)
    runner.train()
    return runner


def _describe(cfg: Config) -> tuple[str, str]:
    try:
        runner = train(cfg)
    except ValueError as error:
        return f'refused: {error}', ''
    mappings = runner.model.distiller.loss_forward_mappings
    simplified = [
        f'`{loss}.{argument}`'
        for loss, mapping in mappings.items()
        for argument, record in mapping.items()
        if record.get('simplify')
    ]
    return 'trains', ', '.join(simplified)


def write_section(text: str) -> None:
    """Replaces the section with the same heading, or appends a new one.

    Args:
        text (str): The heading and what is below it.
    """
    heading = text.partition('\n')[0]
    sections = re.split(r'^(?=#+ )', TABLE.read_text(), flags=re.MULTILINE)
    is_old = [section.startswith(f'{heading}\n') for section in sections]
    kept = [
        text.strip() if old else section.strip()
        for section, old in zip(sections, is_old, strict=True)
    ]
    kept += [] if any(is_old) else [text.strip()]
    TABLE.write_text('\n\n'.join(filter(None, kept)) + '\n')


def main() -> None:
    """Runs all configs and writes the table."""
    make_parser(__doc__).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder))
        for name in track(CONFIGS, 'configs'):
            cfg = load(name, data, skd=False)
            plain, _ = _describe(cfg)
            skd, simplified = _describe(load(name, data, skd=True))
            rows.append(f'| `{name}` | `{cfg.model.type}` | {plain} | {skd} | {simplified} |\n')
            print(rows[-1], end='', flush=True)
    write_section(HEADER + ''.join(rows))


if __name__ == '__main__':
    main()

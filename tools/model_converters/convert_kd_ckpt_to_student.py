r"""Extract the student of a distillation, as a checkpoint and a config of its own package.

Example:
    python tools/model_converters/convert_kd_ckpt_to_student.py \
        configs/digits/skd_kd_resnet14-w16_resnet10-w4_60e_digits.py \
        work_dirs/skd_kd_resnet14-w16_resnet10-w4_60e_digits/epoch_60.pth --out-path student

mmrazor's tool of this name writes only the weights; this one also writes the config
that loads them, and keeps the names of the classes. The name of the file ends with the
start of its SHA-256, as in mmpretrain's model zoo.
"""

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import MODELS as ALL_MODELS
from mmengine.runner.checkpoint import CheckpointLoader

from skd_mmrazor import datasets
from skd_mmrazor.models import backbones
from skd_mmrazor.safeguards import get_weights, load_exactly  # Before any config is parsed.
from skd_mmrazor.utils.command_line import (
    add_cfg_options,
    add_force,
    keep_existing,
    make_parser,
    read_config,
    run_tool,
)
from skd_mmrazor.utils.files import write_beside
from skd_mmrazor.utils.progress import busy

PREFIX = 'architecture.'
PLUGIN = 'skd_mmrazor'
# What its scope has beside all of mmpretrain and mmrazor.
_OWN_NAMES = {*datasets.__all__, *backbones.__all__}
# The package of the config that is written, by the scope of the student.
PACKAGES = {
    **dict.fromkeys(('', 'mmcls', 'mmpretrain', 'mmrazor'), 'mmpretrain'),
    'mmdet': 'mmdet',
    'mmseg': 'mmseg',
}


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', type=Path, help='config of the distillation')
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the distillation')
    parser.add_argument('--out-path', type=Path, help="folder; the checkpoint's own by default")
    add_cfg_options(parser)
    add_force(parser)
    return parser.parse_args()


def get_student_config(cfg: Config) -> Config:
    """Makes the config of the student alone: model, preprocessing and test.

    Args:
        cfg (Config): Config of a distillation.

    Returns:
        Config: A config for mmpretrain, or for the package of the student.

    Raises:
        SystemExit: ``cfg`` has no student, or nothing to test it with.
    """
    cfg = Config(cfg.to_dict())  # Of a Python-style config: names in the place of classes.
    model = cfg.get('model', {})
    if 'architecture' not in model:
        raise SystemExit(
            f'model.type={model.get("type")!r}, expected a distillation algorithm such as '
            "'SingleTeacherDistill', with the student as its architecture."
        )
    test = 'test' if 'test_dataloader' in cfg else 'val'
    if f'{test}_dataloader' not in cfg:
        raise SystemExit('test_dataloader is not in the config, expected the data of the student.')

    student = dict(model.architecture)
    scope = student.pop('_scope_', None) or student.get('cfg_path', '').split('::')[0]
    if scope not in PACKAGES:
        raise SystemExit(
            f'model.architecture is of {scope!r}, expected one of {list(PACKAGES)[1:]}.'
        )
    package = PACKAGES[scope]
    preprocessor = student.pop('data_preprocessor', None)
    if 'cfg_path' in student:
        zoo = get_config(student.pop('cfg_path'))
        preprocessor = zoo.get('data_preprocessor', preprocessor)
        student.pop('pretrained', None)
        student = {**zoo.model, **student}
    # The algorithm's comes first: the student was trained with it, and not with its own.
    preprocessor = model.get('data_preprocessor') or cfg.get('data_preprocessor') or preprocessor
    parts = {
        'model': student,
        'test_dataloader': cfg[f'{test}_dataloader'],
        'test_evaluator': cfg.get(f'{test}_evaluator'),
    }
    parts = {name: part for name, part in parts.items() if part is not None}
    if package == 'mmpretrain':
        if preprocessor is not None:
            parts['data_preprocessor'] = preprocess_in_mmpretrain(preprocessor)
        parts = name_in_mmpretrain(parts)
    elif preprocessor is not None:  # Their models are built without a runner too.
        student['data_preprocessor'] = preprocessor
    if package == 'mmseg':  # Its inference_model reads this name.
        parts['test_pipeline'] = cfg[f'{test}_dataloader'].dataset.get('pipeline')
    imports = [i for i in cfg.get('custom_imports', {}).get('imports', []) if i != PLUGIN]
    imports += [PLUGIN] if needs_plugin(parts) else []
    if imports:
        parts['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    return Config({'default_scope': package, **parts, 'test_cfg': {}})


def name_in_mmpretrain(node: Any) -> Any:
    """Writes the types of mmcls, as mmrazor's configs have them, as mmpretrain's."""
    if isinstance(node, dict):
        node = {key: name_in_mmpretrain(value) for key, value in node.items()}
        scope = node.get('_scope_')
        if scope in ('mmcls', 'mmpretrain', PLUGIN):
            del node['_scope_']
        if isinstance(node.get('type'), str):
            # A scope, or the module of a class, may stand before the name.
            package, name = node['type'].split('.')[0], node['type'].rpartition('.')[2]
            if package in ('mmcls', 'mmpretrain'):
                node['type'] = name
            elif package == PLUGIN or (scope == PLUGIN and name in _OWN_NAMES):
                node['type'] = f'{PLUGIN}.{name}'
            if node['type'] == 'PackClsInputs':
                node['type'] = 'PackInputs'
        return node
    return type(node)(map(name_in_mmpretrain, node)) if isinstance(node, (list, tuple)) else node


def preprocess_in_mmpretrain(cfg: dict | None) -> dict | None:
    """Writes mmengine's preprocessor, which no classifier of mmpretrain takes, as mmpretrain's."""
    if cfg is None or not str(cfg.get('type')).endswith('ImgDataPreprocessor'):
        return cfg
    cfg = dict(cfg, type='ClsDataPreprocessor')
    swaps = [cfg.pop(key, False) for key in ('bgr_to_rgb', 'rgb_to_bgr')]
    return dict(cfg, to_rgb=any(swaps))


def needs_plugin(node: Any) -> bool:
    """Whether a type in the config is the plugin's, or mmrazor's, which it imports."""
    if isinstance(node, (list, tuple)):
        return any(map(needs_plugin, node))
    if not isinstance(node, dict):
        return False
    is_ours = str(node.get('type')).startswith((f'{PLUGIN}.', 'mmrazor.'))
    return is_ours or any(map(needs_plugin, node.values()))


def get_student_checkpoint(filename: Path, cfg: Config) -> dict:
    """Reads the student's weights and makes sure that they fit the config.

    Args:
        filename (Path): Checkpoint of a distillation. With ``EMAHook`` its weights are
            the average, which was validated.
        cfg (Config): Config of the student.

    Returns:
        dict: ``state_dict``, and ``meta`` with the names of the classes.

    Raises:
        SystemExit: The checkpoint has no student.
        ValueError: Its student does not fit the config.
    """
    checkpoint = CheckpointLoader.load_checkpoint(str(filename), map_location='cpu')
    weights = get_weights(checkpoint)
    student = {k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)}
    if not student:
        raise SystemExit(
            f'{filename}: no weights of a student, expected names that start with {PREFIX!r}, '
            f'found such as {next(iter(weights), None)!r}.'
        )
    if cfg.default_scope == 'mmpretrain':
        model = mmpretrain.get_model(cfg, pretrained=False)
    else:
        model = ALL_MODELS.build(dict(cfg.model, _scope_=cfg.default_scope))
    load_exactly(model, student, 'student', str(filename))
    meta = {k: v for k, v in checkpoint.get('meta', {}).items() if k in ('dataset_meta', 'epoch')}
    meta.update(mmengine_version=mmengine.__version__, mmpretrain_version=mmpretrain.__version__)
    # With the names that the model itself saves: timm's get a prefix inside another module.
    return dict(meta=meta, state_dict=model.state_dict())


def main() -> None:
    """Writes the student's checkpoint and config."""
    args = parse_args()
    student_cfg = get_student_config(read_config(args.config, args.cfg_options))
    buffer = io.BytesIO()
    with busy('reading the student'):
        torch.save(get_student_checkpoint(args.checkpoint, student_cfg), buffer)

    out = args.out_path or args.checkpoint.parent
    sha = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    checkpoint = out / f'{args.config.stem}_student-{sha}.pth'
    config = checkpoint.with_suffix('.py')
    keep_existing([checkpoint, config], args.force)
    with write_beside(checkpoint) as part, write_beside(config) as part_config:
        Path(part).write_bytes(buffer.getvalue())
        Path(part_config).write_text(student_cfg.pretty_text, encoding='utf-8')
    print(f'checkpoint: {checkpoint}\nconfig: {config}')


if __name__ == '__main__':
    run_tool(main)

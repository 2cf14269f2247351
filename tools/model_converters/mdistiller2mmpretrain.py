r"""Convert a CIFAR-100 checkpoint of mdistiller or RepDistiller to mmpretrain's names.

SRC is a file of mdistiller's ``cifar_teachers`` archive, or another that holds
the weights of one network as ``'model'``. DST then serves as ``teacher_ckpt``.

Example:
    python tools/model_converters/mdistiller2mmpretrain.py --arch resnet32x4 \
        cifar_teachers/resnet32x4_vanilla/ckpt_epoch_240.pth resnet32x4.pth
"""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmrazor.registry import MODELS
from torch import Tensor, nn

from skd_mmrazor.safeguards import reading  # Before any config is parsed.
from skd_mmrazor.utils.command_line import (
    add_force,
    keep_existing,
    make_parser,
    output_file,
    run_tool,
)
from skd_mmrazor.utils.files import write_beside

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/models/cifar100_networks.py'
# The config also imports the plugin.
NETWORKS = {k: v for k, v in Config.fromfile(CONFIG).items() if k != 'custom_imports'}


def shift(template: str, by: int) -> Callable[[re.Match], str]:
    """Fills a template with a match's groups, the last of which is a number to shift."""
    return lambda match: template.format(*match.groups()[:-1], int(match[match.lastindex]) + by)


# For each family, the substitutions in a name, in this order. All weights outside of
# the head belong to the backbone.
RULES: dict[str, list[tuple[str, str | Callable[[re.Match], str]]]] = {
    'resnet50': [(r'^linear', 'head.fc'), (r'shortcut', 'downsample')],
    'resnet': [(r'^fc', 'head.fc')],
    'wrn': [
        (r'^fc', 'head.fc'),
        (r'^block(\d)\.layer', r'layer\1'),
        (r'convShortcut', 'downsample'),
    ],
    'vgg': [
        (r'^classifier', 'head.fc'),
        (r'^block(\d)', shift('layer{}', 1)),
        (r'\.0\.', '.conv1.'),
        (r'\.1\.', '.bn1.'),
        (r'\.3\.', '.conv2.'),
        (r'\.4\.', '.bn2.'),
    ],
    'mobilenetv2': [
        (r'^classifier\.0', 'head.fc'),
        (r'^(conv\d)\.0', r'\1.conv'),
        (r'^(conv\d)\.1', r'\1.bn'),
        (r'^blocks\.(\d)', shift('layer{}', 1)),
        (r'\.conv\.0', '.conv1.conv'),
        (r'\.conv\.1', '.conv1.bn'),
        (r'\.conv\.3', '.conv2.conv'),
        (r'\.conv\.4', '.conv2.bn'),
        (r'\.conv\.6', '.conv3.conv'),
        (r'\.conv\.7', '.conv3.bn'),
    ],
    'shufflenetv1': [(r'^linear', 'head.fc'), (r'(conv|bn)(\d)', r'conv\2.\1')],
    'shufflenetv2': [
        (r'^linear', 'head.fc'),
        (r'^(conv|bn)(\d)', r'conv\2.\1'),
        # A stage's first block has two branches, the others have the second.
        (r'\.0\.(conv|bn)([12])\.', shift('.0.branch1.{1}.{0}.', -1)),
        (r'\.0\.(conv|bn)([345])\.', shift('.0.branch2.{1}.{0}.', -3)),
        (r'\.([1-7])\.(conv|bn)(\d)\.', shift('.{0}.branch2.{2}.{1}.', -1)),
    ],
}


def rename(key: str, arch: str) -> str:
    """Converts the name of a weight to that in our classifier.

    Args:
        key (str): The name in the checkpoint.
        arch (str): The network, a variable of ``cifar100_networks.py``.

    Returns:
        str: The name, from ``backbone.`` or ``head.``.
    """
    family = next(family for family in RULES if arch.startswith(family))
    for pattern, replacement in RULES[family]:
        key = re.sub(pattern, replacement, key)
    return key if key.startswith('head.') else f'backbone.{key}'


def build(arch: str) -> nn.Module:
    """Builds our classifier, with random weights."""
    return MODELS.build(NETWORKS[arch])


def convert(weights: dict[str, Tensor], arch: str) -> dict[str, Tensor]:
    """Renames all weights of a network.

    Args:
        weights (dict[str, Tensor]): By the names of the checkpoint.
        arch (str): The network, a variable of ``cifar100_networks.py``.

    Returns:
        dict[str, Tensor]: By the names of our classifier.

    Raises:
        ValueError: Weights are missing, left over or of another shape.
    """
    expected = build(arch).state_dict()
    sources = {rename(key, arch): key for key in weights}
    found = {name: weights[key] for name, key in sources.items() if name in expected}
    problems = {
        'missing': expected.keys() - found,
        'unused': weights.keys() - {sources[name] for name in found},
        'of another shape': {
            f'{sources[name]} {tuple(weight.shape)} for {tuple(expected[name].shape)}'
            for name, weight in found.items()
            if weight.shape != expected[name].shape
        },
    }
    complaints = [
        f'{len(keys)} {what}: {", ".join(sorted(keys)[:5])}{", …" if len(keys) > 5 else ""}'
        for what, keys in problems.items()
        if keys
    ]
    if complaints:
        raise ValueError(f'expected the weights of {arch}; ' + '; '.join(complaints))
    return found


def load(path: str) -> dict[str, Tensor]:
    """Reads the weights, and runs no code that the file may hold.

    Args:
        path (str): A checkpoint.

    Returns:
        dict[str, Tensor]: What it holds as ``'model'``.

    Raises:
        UnpicklingError: The file cannot be read.
        ValueError: It is no such checkpoint.
    """
    with reading(path):
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    weights = checkpoint.get('model') if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        found = sorted(map(str, checkpoint)) if isinstance(checkpoint, dict) else type(checkpoint)
        raise ValueError(f"expected a dict of tensors as 'model', found {found}")
    return weights


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('src', help='checkpoint of mdistiller or RepDistiller')
    parser.add_argument(
        'dst', type=output_file('.pth', '.pt'), help='where to save the checkpoint of mmpretrain'
    )
    parser.add_argument('--arch', required=True, choices=list(NETWORKS), help='the network')
    add_force(parser)
    return parser.parse_args()


def main() -> None:
    """Converts one file."""
    args = parse_args()
    keep_existing([args.dst], args.force)
    try:
        state_dict = convert(load(args.src), args.arch)
    except ValueError as error:
        raise SystemExit(f'{args.src}: {error}') from error
    with write_beside(args.dst) as part:
        torch.save(dict(meta=dict(arch=args.arch), state_dict=state_dict), part)
    print(f'{len(state_dict)} weights of {args.arch}: {args.dst}')


if __name__ == '__main__':
    run_tool(main)

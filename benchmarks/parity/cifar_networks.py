"""Compare the CIFAR-100 networks with those of mdistiller, weight for weight.

Random weights and statistics of the reference go through the converter into ours.
The table has the largest difference in the logits, and in the stages by the names
that recorders use, over the largest value in them.

Usage:
    git clone https://github.com/megvii-research/mdistiller PATH
    python benchmarks/parity/cifar_networks.py --mdistiller PATH
"""

import argparse
import contextlib
import io
import sys
import warnings
from pathlib import Path

import torch
from mmrazor.registry import TASK_UTILS
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'model_converters'))
from mdistiller2mmpretrain import NETWORKS, build, convert

# Where the reference spells a name differently.
REFERENCE_NAMES = dict(
    wrn16_1='wrn_16_1',
    wrn16_2='wrn_16_2',
    wrn40_1='wrn_40_1',
    wrn40_2='wrn_40_2',
    mobilenetv2='MobileNetV2',
    shufflenetv1='ShuffleV1',
    shufflenetv2='ShuffleV2',
    resnet50='ResNet50',
)


def randomise(network: nn.Module) -> nn.Module:
    """Gives norm layers weights and statistics that a wrong place would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def count(network: nn.Module) -> int:
    """Counts the parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def record(network: nn.Module, images: Tensor, sources: list[str]) -> list[Tensor]:
    """Computes the logits and what recorders of mmrazor get from the sources."""
    cfg = {source: dict(type='ModuleOutputs', source=source) for source in sources}
    recorders = RecorderManager(cfg)
    recorders.initialize(network)
    with recorders:
        logits = network(images, mode='tensor')
    stages = [recorders.get_recorder(source).get_record_data() for source in sources]
    return [network.head(logits), *stages]


@torch.no_grad()
def differences(
    theirs: nn.Module, ours: nn.Module, arch: str, dtype: torch.dtype
) -> tuple[float, float]:
    """Compares two networks on eight random images.

    Args:
        theirs (nn.Module): A network of the reference.
        ours (nn.Module): Our classifier with its weights.
        arch (str): Its name.
        dtype (torch.dtype): What to compute in.

    Returns:
        tuple[float, float]: The largest difference in the logits and in the stages.
    """
    images = torch.randn(8, 3, 32, 32, dtype=dtype)
    logits, features = theirs.to(dtype)(images)
    stages = (2, 3, 5, 7) if arch == 'mobilenetv2' else range(1, len(ours.backbone.stages) + 1)
    return 0, 0


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--mdistiller', type=Path, required=True, help='a checkout of mdistiller')
    args = parser.parse_args()
    # Its networks alone: the package itself wants the rest of its requirements.
    sys.path.insert(0, str(args.mdistiller / 'mdistiller' / 'models'))
    from cifar import cifar_model_dict

    warnings.simplefilter('ignore')
    torch.manual_seed(0)
    print('| network | parameters, theirs | ours | difference, float32 | float64 |')
    print('|---|---|---|---|---|')
    for arch in NETWORKS:
        with contextlib.redirect_stdout(io.StringIO()):  # One of them prints.
            theirs = cifar_model_dict[REFERENCE_NAMES.get(arch, arch)][0](num_classes=100)
        ours = build(arch).eval()
        ours.load_state_dict(convert(randomise(theirs).state_dict(), arch))
        single, double = (difference(theirs, ours, d) for d in (torch.float32, torch.float64))
        print(f'| {arch} | {count(theirs):,} | {count(ours):,} | {single:.0e} | {double:.0e} |')


if __name__ == '__main__':
    main()

"""Compare the CIFAR-100 networks with those of mdistiller, weight for weight.

Random weights and statistics of the reference go through the converter into ours.
The table has the largest difference in the logits, and in the stages by the names
that recorders use, over the largest value in them; and how differently the two start: the
largest difference of a constant, or of the logarithms of the sizes of random weights.

Example:
    git clone https://github.com/megvii-research/mdistiller
    python -m benchmarks.parity.cifar_networks --mdistiller mdistiller
"""

import contextlib
import io
import logging
import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'model_converters'))
from mdistiller2mmpretrain import NETWORKS, build, convert
from mmrazor.models.task_modules.recorder import ModuleOutputsRecorder

from skd_mmrazor.utils.command_line import make_parser, run_tool
from skd_mmrazor.utils.progress import track

# Names that the reference spells differently.
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
    """Gives norm layers weights and statistics that differ, so that a mix-up shows."""
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


def compare_starts(theirs: dict[str, Tensor], ours: dict[str, Tensor]) -> float:
    """Compares initial weights by their root mean squares, or as they are where constant.

    Of fewer than 1,000 random numbers the size says little: they are left out.

    Args:
        theirs (dict[str, Tensor]): The reference's weights, by our names.
        ours (dict[str, Tensor]): Our weights.

    Returns:
        float: The largest difference of a constant, or of two logarithms of sizes.
    """
    found = [0.0]
    for name, weight in theirs.items():
        if weight.unique().numel() == 1:
            found.append(float((ours[name] - weight).abs().max()))
        elif weight.numel() >= 1000:
            sizes = [w.square().mean().sqrt().log() for w in (weight, ours[name])]
            found.append(float((sizes[0] - sizes[1]).abs()))
    return max(found)


def record(network: nn.Module, images: Tensor, sources: list[str]) -> list[Tensor]:
    """Computes the logits, and what mmrazor's recorders get from the sources."""
    recorders = [ModuleOutputsRecorder(source) for source in sources]
    with contextlib.ExitStack() as stack:
        for recorder in recorders:
            recorder.initialize(network)
            stack.enter_context(recorder)
        logits = network(images)
    return [logits, *(recorder.get_record_data() for recorder in recorders)]


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
        tuple[float, float]: The largest difference in the logits, and in the stages.
    """
    images = torch.randn(8, 3, 32, 32, dtype=dtype)
    logits, features = theirs.to(dtype)(images)
    # All but VGG return their stem as the first feature.
    features = features['feats'] if arch.startswith('vgg') else features['feats'][1:]
    layers = (2, 3, 5, 7) if arch == 'mobilenetv2' else range(1, len(features) + 1)
    sources = [f'backbone.layer{layer}' for layer in layers]
    pairs = zip(record(ours.to(dtype), images, sources), [logits, *features], strict=True)
    relative = [float((our - their).abs().max() / their.abs().max()) for our, their in pairs]
    return relative[0], max(relative[1:])


def main() -> None:
    """Prints the table."""
    parser = make_parser(__doc__)
    parser.add_argument('--mdistiller', type=Path, required=True, help='a checkout of mdistiller')
    args = parser.parse_args()
    # Its networks alone: the package itself wants the rest of its requirements.
    sys.path.insert(0, str(args.mdistiller / 'mdistiller' / 'models'))
    from cifar import cifar_model_dict

    warnings.simplefilter('ignore')
    logging.getLogger('mmengine').setLevel(logging.ERROR)
    torch.manual_seed(0)
    heads = 'network', 'parameters, theirs', 'ours', 'logits, float32', 'float64', 'stages, float64'
    print(f'| {" | ".join(heads)} | start |\n' + '|---' * 7 + '|')
    for arch in track(NETWORKS, 'networks'):
        with contextlib.redirect_stdout(io.StringIO()):  # One of them prints.
            theirs = cifar_model_dict[REFERENCE_NAMES.get(arch, arch)][0](num_classes=100)
        ours = build(arch).eval()
        ours.init_weights()
        start = compare_starts(convert(theirs.state_dict(), arch), ours.state_dict())
        ours.load_state_dict(convert(randomise(theirs).state_dict(), arch))
        single, _ = differences(theirs, ours, arch, torch.float32)
        double, stages = differences(theirs, ours, arch, torch.float64)
        counts = f'{count(theirs):,} | {count(ours):,}'
        print(f'| {arch} | {counts} | {single:.0e} | {double:.0e} | {stages:.0e} | {start:.2f} |')


if __name__ == '__main__':
    run_tool(main)

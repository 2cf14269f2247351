"""Export an mmpretrain classifier, such as a distilled student, to ONNX.

Example:
    pip install -e '.[onnx]'
    python tools/deployment/pytorch2onnx.py student/*.py student/*.pth --shape 8

The graph takes ``images``, float32 of shape (N, channels, height, width) with values
from 0 to 255: it includes the normalization. The channels are in the order in which the
config loads images: OpenCV's BGR if its ``data_preprocessor`` has ``to_rgb=True``, and RGB
for CIFAR. It returns ``scores``, the softmax of shape (N, classes), or ``logits`` with
``--logits``. N is free. The names of the classes are in the file's metadata, as JSON.
"""

import argparse
import inspect
import json
from pathlib import Path

import numpy as np
import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmpretrain import get_model
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn

from skd_mmrazor.safeguards import get_weights, load_exactly  # Before any config is parsed.
from skd_mmrazor.utils import error_context
from skd_mmrazor.utils.command_line import (
    add_force,
    keep_existing,
    make_parser,
    output_file,
    read_config,
    run_tool,
)
from skd_mmrazor.utils.files import write_beside
from skd_mmrazor.utils.progress import busy

TOLERANCE = 1e-4


class Classifier(nn.Module):
    """Preprocessing, model and softmax in one.

    Args:
        model (nn.Module): An ``ImageClassifier`` of mmpretrain.
        logits (bool): Whether to leave the softmax out.
    """

    def __init__(self, model: nn.Module, logits: bool) -> None:
        super().__init__()
        self.model = model
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        """Classifies images.

        Args:
            images (Tensor): (N, C, H, W), from 0 to 255.

        Returns:
            Tensor: (N, classes).
        """
        logits = self.model(self.model.data_preprocessor({'inputs': images})['inputs'])
        return logits if self.logits else logits.softmax(dim=1)


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('config', help='config of the classifier')
    parser.add_argument('checkpoint', type=Path, help='checkpoint of the classifier')
    parser.add_argument(
        '--output-file', type=output_file('.onnx'), help='CHECKPOINT.onnx by default'
    )
    parser.add_argument('--shape', type=int, nargs='+', default=[224], help='height and width')
    parser.add_argument('--logits', action='store_true', help='logits instead of their softmax')
    parser.add_argument('--opset-version', type=int, default=17)
    add_force(parser)
    args = parser.parse_args()
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape: {args.shape}, expected a height and a width')
    return args


def export(
    model: Classifier, images: Tensor, path: str, opset_version: int, classes: list[str] | None
) -> None:
    """Writes the file, with the names of the classes in it."""
    import onnx

    output = 'logits' if model.logits else 'scores'
    # The newer exporter needs another package, and its graph is the same here.
    known = inspect.signature(torch.onnx.export).parameters
    torch.onnx.export(
        model,
        (images,),
        path,
        input_names=['images'],
        output_names=[output],
        dynamic_axes={'images': {0: 'N'}, output: {0: 'N'}},
        opset_version=opset_version,
        **({'dynamo': False} if 'dynamo' in known else {}),
    )
    graph = onnx.load(path)
    if classes:
        onnx.helper.set_model_props(graph, {'classes': json.dumps(list(classes))})
    onnx.save(graph, path)


def compare(model: Classifier, images: Tensor, path: str) -> float:
    """The largest difference between torch and onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    theirs = session.run(None, {'images': images.numpy()})[0]
    return float(np.abs(model(images).numpy() - theirs).max())


def build(config: str, checkpoint: Path) -> tuple[BaseClassifier, list[str] | None]:
    """Builds the classifier with the weights of the checkpoint.

    Args:
        config (str): Config of the classifier.
        checkpoint (Path): Its checkpoint.

    Returns:
        tuple[BaseClassifier, list[str] | None]: The classifier, and the names of its
        classes, where they are known.

    Raises:
        SystemExit: The config is that of a distillation.
        ValueError: It is not that of a classifier, or the checkpoint does not fit it.
    """
    cfg = read_config(config)
    if 'architecture' in cfg.model:
        raise SystemExit(
            f'{config}: model.type={cfg.model.get("type")!r}, expected a classifier; '
            'tools/model_converters/convert_kd_ckpt_to_student.py makes one of a distillation.'
        )
    with error_context('config', config, 'one of a classifier'):
        classifier = get_model(cfg, pretrained=False)
    # Not by get_model, which leaves weights random that are not in the checkpoint.
    loaded = CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu')
    load_exactly(classifier, get_weights(loaded), 'model', repr(str(checkpoint)))
    meta = loaded.get('meta', {}).get('dataset_meta') or classifier._dataset_meta
    return classifier, meta.get('classes')


@torch.no_grad()
def main() -> None:
    """Exports, compares the file with the model, and then puts it in its place."""
    args = parse_args()
    path = args.output_file or args.checkpoint.with_suffix('.onnx')
    keep_existing([path], args.force)
    classifier, classes = build(args.config, args.checkpoint)
    model = Classifier(classifier, args.logits).eval()
    shape = (args.shape[0], args.shape[-1])
    channels = len(getattr(classifier.data_preprocessor, 'mean', range(3)))
    # Exported with two images and compared with three, since N must be free.
    two, three = (torch.rand(n, channels, *shape) * 255 for n in (2, 3))
    with write_beside(path) as part:
        with busy('exporting'):
            export(model, two, part, args.opset_version, classes)
        with busy('comparing the file with torch'):
            difference = compare(model, three, part)
        if not difference <= TOLERANCE:
            raise SystemExit(f'{path} would differ from the model by {difference:.1e}.')
    print(f'onnx: {path}\nlargest difference from torch: {difference:.1e}')


if __name__ == '__main__':
    run_tool(main)

"""The time a worker needs for an image of ImageNet: the configs' pipeline, step by step.

Example:
    python -m benchmarks.speed.jpeg --repeats 200

Uses ``--image``, or a synthetic one of ImageNet's usual 500 x 375. Times are CPU time of
one core, so that other work on the machine does not count.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

import skd_mmrazor  # noqa: F401
from skd_mmrazor.utils.command_line import make_parser
from skd_mmrazor.utils.progress import track

from .report import get_conditions
from .scenarios import CONFIGS

BACKENDS = ('cv2', 'turbojpeg', 'pillow')


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = make_parser(__doc__)
    parser.add_argument('--image', type=Path, help='a JPEG file')
    parser.add_argument('--repeats', type=int, default=200)
    return parser.parse_args()


def make_image(path: Path) -> None:
    """Writes a JPEG with the coarse and the fine structure of a photograph."""
    draw = np.random.default_rng(0).integers
    coarse = draw(256, size=(24, 32, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC)
    noisy = image.astype(int) + draw(-12, 12, size=image.shape)
    cv2.imwrite(str(path), noisy.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def measure(call: Callable[[], object], repeats: int) -> float:
    """Median CPU time in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def main() -> None:
    """Prints the time after each transform, and of each decoder alone."""
    args = parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    init_default_scope('mmpretrain')
    with tempfile.TemporaryDirectory() as folder:
        path = args.image or Path(folder) / 'image.jpg'
        if args.image is None:
            make_image(path)
        cfg = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'imagenet_bs32.py')
        pipeline = [TRANSFORMS.build(t) for t in cfg.train_dataloader.dataset.pipeline]
        print(f'{path.stat().st_size / 2**10:.0f} KiB\n\n| up to | ms |\n|---|---|')
        for i, transform in enumerate(track(pipeline, 'transforms')):

            def prepare(steps: list = pipeline[: i + 1]) -> None:
                data = dict(img_path=str(path), gt_label=0)
                for step in steps:
                    data = step(data)

            print(f'| {type(transform).__name__} | {measure(prepare, args.repeats):.2f} |')
        content = path.read_bytes()
        print('\n| decoder alone | ms |\n|---|---|')
        for backend in BACKENDS:
            try:
                mmcv.imfrombytes(content, backend=backend)
            except (AttributeError, ImportError):
                print(f'| {backend} | not installed |')
                continue
            decode = measure(lambda b=backend: mmcv.imfrombytes(content, backend=b), args.repeats)
            print(f'| {backend} | {decode:.2f} |')
    print(f'\n{get_conditions()}')


if __name__ == '__main__':
    main()

"""Images of simple shapes in the formats of COCO and Cityscapes.

Example:
    python -m benchmarks.compatibility.tiny_shapes data/shapes --format cityscapes --images 64
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from skd_mmrazor.utils.command_line import make_parser

SHAPES = ('square', 'disc', 'triangle')
_COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 230))
# mmsegmentation's numbers of three of Cityscapes' classes: car, person, sky.
_TRAIN_IDS = (13, 11, 10)
# What is behind the shapes: road.
_BACKGROUND = 0


def draw(seed: int, size: tuple[int, int]) -> tuple[Image.Image, list[tuple[int, list]]]:
    """Draws one to three shapes on noise.

    Args:
        seed (int): Chooses the picture.
        size (tuple[int, int]): Width and height.

    Returns:
        tuple[Image, list[tuple[int, list]]]: The picture, and of each shape its number in
        ``SHAPES`` and the corners of its outline.
    """
    generator = np.random.default_rng(seed)
    width, height = size
    noise = generator.integers(100, 156, size=(height, width, 3), dtype=np.uint8)
    picture, shapes = Image.fromarray(noise), []
    for _ in range(generator.integers(1, 4)):
        kind, radius = int(generator.integers(3)), int(generator.integers(8, min(size) // 3))
        x, y = (int(generator.integers(radius, side - radius)) for side in size)
        corners, start = ((4, np.pi / 4), (24, 0.0), (3, -np.pi / 2))[kind]
        angles = start + 2 * np.pi * np.arange(corners) / corners
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        outline = [tuple(point) for point in points.round(1).tolist()]
        ImageDraw.Draw(picture).polygon(outline, fill=_COLOURS[kind])
        shapes.append((kind, outline))
    return picture, shapes


def make_coco(root: Path, images: int = 64, size: tuple[int, int] = (96, 96)) -> None:
    """Writes pictures, boxes and masks in COCO's layout.

    Args:
        root (Path): The folder to make.
        images (int): Pictures for training; a quarter of it for validation. Defaults to 64.
        size (tuple[int, int]): Width and height. Defaults to 96 × 96.
    """
    (root / 'annotations').mkdir(parents=True)
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(SHAPES)]
    for split, seeds in _get_splits(images).items():
        (root / split).mkdir()
        files: list[dict] = []
        annotations: list[dict] = []
        for seed in seeds:
            picture, shapes = draw(seed, size)
            name = f'{seed:012d}.jpg'
            picture.save(root / split / name)
            files.append(dict(id=seed, file_name=name, width=size[0], height=size[1]))
            for kind, outline in shapes:
                (left, top), (right, bottom) = np.min(outline, axis=0), np.max(outline, axis=0)
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=seed,
                        category_id=kind + 1,
                        bbox=[left, top, right - left, bottom - top],
                        area=(right - left) * (bottom - top),
                        segmentation=[[number for point in outline for number in point]],
                        iscrowd=0,
                    )
                )
        content = dict(images=files, annotations=annotations, categories=categories)
        (root / 'annotations' / f'instances_{split}.json').write_text(json.dumps(content))


def make_cityscapes(root: Path, images: int = 64, size: tuple[int, int] = (128, 64)) -> None:
    """Writes pictures and maps of classes in Cityscapes' layout.

    Args:
        root (Path): The folder to make.
        images (int): Pictures for training; a quarter of it for validation. Defaults to 64.
        size (tuple[int, int]): Width and height. Defaults to 128 × 64.
    """
    for split, seeds in _get_splits(images).items():
        split = split.removesuffix('2017')
        pictures, maps = (root / part / split / 'shapes' for part in ('leftImg8bit', 'gtFine'))
        pictures.mkdir(parents=True)
        maps.mkdir(parents=True)
        for seed in seeds:
            picture, shapes = draw(seed, size)
            picture.save(pictures / f'shapes_{seed:06d}_leftImg8bit.png')
            classes = Image.new('L', size, _BACKGROUND)
            for kind, outline in shapes:
                ImageDraw.Draw(classes).polygon(outline, fill=_TRAIN_IDS[kind])
            classes.save(maps / f'shapes_{seed:06d}_gtFine_labelTrainIds.png')


def _get_splits(images: int) -> dict[str, range]:
    return dict(train2017=range(images), val2017=range(images, images + images // 4))


def main() -> None:
    """Writes a data set."""
    makers = dict(cityscapes=make_cityscapes, coco=make_coco)
    parser = make_parser(__doc__)
    parser.add_argument('root', type=Path, help='the folder to make')
    parser.add_argument('--format', choices=makers, default='cityscapes')
    parser.add_argument('--images', type=int, default=64, help='and a quarter to validate on')
    args = parser.parse_args()
    makers[args.format](args.root, args.images)


if __name__ == '__main__':
    main()

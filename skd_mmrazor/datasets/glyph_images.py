"""Images of characters, drawn from a seed: the pixels of ``Glyph100``."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# In no font is one the image of another, nor its mirror image (as b and d, or N
# and И): the recipe for CIFAR flips images. Many nearly are. Left out are those
# that FreeType 2.13 and 2.14 draw differently (a, Ç, Ñ).
CLASSES = (
    '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZbefghijkmnprtuy'
    'ÄÅÊÖÜèéêëüΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφψωБДЖЙЛЦЧШЩЪЫЬЮ'
)
PER_CLASS = dict(train=500, test=100)
SEED = dict(train=0, test=1)
# Fonts that matplotlib ships. Those of TeX (cm) have only the first 51 classes. Its
# other fonts have none of them, or other symbols in their places.
FONTS = dict(
    train=[
        *('DejaVuSans', 'DejaVuSans-Bold', 'DejaVuSans-Oblique'),
        *('DejaVuSansMono', 'DejaVuSansMono-Bold', 'DejaVuSansMono-BoldOblique'),
        *('DejaVuSerif', 'DejaVuSerif-Italic', 'DejaVuSerif-BoldItalic'),
        *('STIXGeneralItalic', 'STIXGeneralBol', 'STIXGeneralBolIta'),
        *('cmb10', 'cmss10', 'cmti10', 'cmtt10'),
    ],
    test=[
        *('DejaVuSans-BoldOblique', 'DejaVuSansMono-Oblique', 'DejaVuSerif-Bold'),
        *('STIXGeneral', 'cmr10'),
    ],
)
# How hard the images are. From each range a number is drawn for each image.
EM = (17.0, 30.0)  # height of the font, in pixels
ASPECT = (0.85, 1.15)
SKEW = (-0.4, 0.4)  # of either axis: a rotation, where they are opposite
SHIFT = (-4.0, 4.0)  # pixels
NEIGHBOUR = (14.0, 22.0)  # pixels to the character beside it
CONTRAST = (24, 90)  # of 255, in each channel
TEXTURE = 55  # the background's amplitude
NOISE = 50  # each pixel's

_SIZE = 32
_EM = 40
_CANVAS = 64


def draw_images(split: str) -> np.ndarray:
    """Draws the images of a split; image ``i`` shows class ``i % 100``.

    After the characters are warped, all arithmetic is of integers, so the pixels do
    not depend on how a processor rounds.

    Args:
        split (str): ``'train'`` or ``'test'``.

    Returns:
        np.ndarray: uint8 of shape (N, 32, 32, 3).
    """
    rng = np.random.default_rng(SEED[split])
    glyphs = [_render(character, FONTS[split]) for character in CLASSES]
    return np.concatenate([_draw_each(glyphs, rng) for _ in range(PER_CLASS[split])])


def _render(character: str, fonts: Iterable[str]) -> list[Image.Image]:
    """The character in each font that has it, in the middle of a canvas."""
    import matplotlib  # Not at the top: for the folder of its fonts alone.

    images = []
    for font in fonts:
        if font.startswith('cm') and not character.isascii():
            continue
        path = Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{font}.ttf')
        # Not every build of Pillow has the other layout engine, Raqm.
        typeface = ImageFont.truetype(str(path), _EM, layout_engine=ImageFont.Layout.BASIC)
        image = Image.new('L', (_CANVAS, _CANVAS))
        # A capital is 0.72 em high: it is centred, and all share its baseline.
        foot = (_CANVAS / 2, _CANVAS / 2 + 0.36 * _EM)
        ImageDraw.Draw(image).text(foot, character, fill=255, font=typeface, anchor='ms')
        images.append(image)
    return images


def _draw_each(glyphs: list[list[Image.Image]], rng: np.random.Generator) -> np.ndarray:
    """An image of every class: uint8 of shape (100, 32, 32, 3)."""
    n = len(glyphs)
    x, y = rng.uniform(*SHIFT, (2, n))
    ink = _warp(glyphs, x, y, rng)
    beside = rng.choice([-1, 1], n) * rng.uniform(*NEIGHBOUR, n)
    others = [glyphs[i] for i in rng.integers(n, size=n)]
    ink = np.maximum(ink, _warp(others, beside, y, rng))

    coarse = rng.integers(2 * TEXTURE, size=(n, 4, 4, 3), endpoint=True)
    paper = rng.integers(CONTRAST[1], 255 - CONTRAST[1], (n, 1, 1, 3), endpoint=True)
    paper = paper + _enlarge(coarse.astype(np.uint8)) - TEXTURE
    contrast = rng.integers(*CONTRAST, (n, 1, 1, 3), endpoint=True)
    contrast *= rng.choice([-1, 1], contrast.shape)
    noise = rng.integers(-NOISE, NOISE, (n, _SIZE, _SIZE, 3), endpoint=True)
    return np.clip(paper + contrast * ink // 255 + noise, 0, 255).astype(np.uint8)


def _warp(
    glyphs: list[list[Image.Image]], x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws each in a random font, centred at (x, y): int64 of shape (N, 32, 32, 1)."""
    n = len(glyphs)
    font = rng.random(n)
    # The affine map from a pixel of the image to one of the canvas.
    yy = _EM / rng.uniform(*EM, n)
    xx = yy * rng.uniform(*ASPECT, n)
    xy, yx = yy * rng.uniform(*SKEW, (2, n))
    x, y = x + _SIZE / 2, y + _SIZE / 2
    x0, y0 = _CANVAS / 2 - xx * x - xy * y, _CANVAS / 2 - yx * x - yy * y
    warped = [
        fonts[int(len(fonts) * pick)].transform(
            (_SIZE, _SIZE), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        for fonts, pick, *affine in zip(glyphs, font, xx, xy, x0, yx, yy, y0, strict=True)
    ]
    return _stack(warped)[..., None]


def _enlarge(images: np.ndarray) -> np.ndarray:
    size = (_SIZE, _SIZE)
    return _stack(Image.fromarray(i).resize(size, Image.Resampling.BICUBIC) for i in images)


def _stack(images: Iterable[Image.Image]) -> np.ndarray:
    # So that sums and products do not overflow.
    return np.stack([np.asarray(image, dtype=np.int64) for image in images])

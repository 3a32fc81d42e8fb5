"""What may befall a radiograph on its way to a network, in mild and in strong form.

Each shift acts on the radiograph itself, before `preprocess.prepare`, and is measured by the
image's own size: a blur of 1 % looks alike on 224 and on 2,000 pixels. An image shifted
twice is the same twice.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import cv2
import numpy as np

Strength = Literal["none", "mild", "strong"]

# Shorter sides, in pixels, of the grids on which grain falls, and files and letters are made.
_GRAIN = 256
_SENT = 512


@dataclass(frozen=True)
class Shift:
    """One step of the stress test.

    Attributes:
        name: what is done, with its amount; unique.
        group: what kind of change it is.
        strength: ``mild`` is met every day and should not matter; ``strong`` is met now and then;
            ``none`` changes nothing.
        apply: ``uint8 [height, width]`` to a new ``uint8 [height', width']``.
    """

    name: str
    group: str
    strength: Strength
    apply: Callable[[np.ndarray], np.ndarray]


def _shrink(pixels: np.ndarray, *, wide: float = 1, high: float = 1) -> np.ndarray:
    """The patient narrower or flatter in the same frame, whose edges are continued.

    Squashed to a square, an image from a wider frame looks like this.
    """
    height, width = pixels.shape
    size = (round(width * wide), round(height * high))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    right, bottom = width - size[0] - left, height - size[1] - top
    return cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE)


def _gamma(pixels: np.ndarray, *, power: float) -> np.ndarray:
    """Darker middle greys above 1, lighter below; black and white stay."""
    levels = np.linspace(0, 1, 256) ** power
    return cv2.LUT(pixels, (levels * 255 + 0.5).astype(np.uint8))


def _contrast(pixels: np.ndarray, *, factor: float) -> np.ndarray:
    mean = float(pixels.mean())
    levels = (np.arange(256) - mean) * factor + mean
    return cv2.LUT(pixels, np.clip(levels + 0.5, 0, 255).astype(np.uint8))


def _blur(pixels: np.ndarray, *, share: float) -> np.ndarray:
    """Gaussian; its standard deviation as a share of the shorter side."""
    return cv2.GaussianBlur(pixels, (0, 0), share * min(pixels.shape))


def _noise(pixels: np.ndarray, *, levels: float) -> np.ndarray:
    """Grain with a standard deviation in grey levels, `_GRAIN` grains along the shorter side.

    Noise of single pixels would vanish from a large image when it is shrunk for the network.
    """
    height, width = pixels.shape
    scale = _GRAIN / min(height, width)
    rng = np.random.default_rng(zlib.crc32(pixels.tobytes()))
    grain: np.ndarray = rng.standard_normal(
        (round(height * scale), round(width * scale)), np.float32
    )
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.clip(pixels + levels * grain + 0.5, 0, 255).astype(np.uint8)


def _jpeg(pixels: np.ndarray, *, quality: int) -> np.ndarray:
    """Sent as a JPEG with a shorter side of `_SENT` pixels."""
    _, file = cv2.imencode(".jpg", _resize(pixels, _SENT), [cv2.IMWRITE_JPEG_QUALITY, quality])
    sent = cv2.imdecode(file, cv2.IMREAD_GRAYSCALE)
    assert sent is not None  # what was just encoded can be decoded
    return _resize(sent, min(pixels.shape), pixels.shape)


def _resolution(pixels: np.ndarray, *, side: int) -> np.ndarray:
    """Kept with so few pixels along its shorter side only, and enlarged again."""
    return _resize(_resize(pixels, side), min(pixels.shape), pixels.shape)


def _resize(pixels: np.ndarray, side: int, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A shorter side of ``side`` pixels; the exact shape may be given."""
    scale = side / min(pixels.shape)
    height, width = shape or (round(length * scale) for length in pixels.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=how)


def _rotate(pixels: np.ndarray, *, degrees: float) -> np.ndarray:
    """About the middle, clockwise where positive; the edges are continued into the corners."""
    height, width = pixels.shape
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1)
    return cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def _add_border(pixels: np.ndarray, *, share: float) -> np.ndarray:
    """A black frame around the whole image."""
    margin = round(share * min(pixels.shape))
    return cv2.copyMakeBorder(
        pixels, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0,)
    )


def _crop(pixels: np.ndarray, *, share: float) -> np.ndarray:
    """All four sides cut off."""
    margin = round(share * min(pixels.shape))
    return pixels[margin:-margin, margin:-margin].copy()


def _cover_border(pixels: np.ndarray, *, share: float) -> np.ndarray:
    """All four sides painted black, as by narrower collimation."""
    margin = round(share * min(pixels.shape))
    covered = np.zeros_like(pixels)
    covered[margin:-margin, margin:-margin] = pixels[margin:-margin, margin:-margin]
    return covered


def _add_marker(pixels: np.ndarray, *, texts: tuple[str, ...]) -> np.ndarray:
    """Bright letters in the upper corners, the first at the patient's right."""
    scale = _SENT / min(pixels.shape)
    height, width = (round(length * scale) for length in pixels.shape)
    letters = np.zeros((height, width), np.uint8)
    margin, font, weight = round(0.03 * _SENT), (cv2.FONT_HERSHEY_SIMPLEX, 1.2), 3
    for text, at_right in zip(texts, (True, False), strict=False):
        (wide, high), _ = cv2.getTextSize(text, *font, weight)
        place = (margin if at_right else width - margin - wide, margin + high)
        cv2.putText(letters, text, place, *font, 245, weight, cv2.LINE_AA)
    return np.maximum(pixels, _resize(letters, min(pixels.shape), pixels.shape))


def _erase_corners(pixels: np.ndarray, *, share: float) -> np.ndarray:
    """The four corners, where side markers and labels are, painted in their median grey."""
    erased = pixels.copy()
    side = round(share * min(pixels.shape))
    ends = (slice(None, side), slice(-side, None))
    for rows in ends:
        for columns in ends:
            erased[rows, columns] = np.median(pixels[rows, columns])
    return erased


UNCHANGED = Shift("unchanged", "", "none", np.asarray)
SHIFTS = (
    Shift("frame 10 % wider", "stretch", "mild", partial(_shrink, wide=1 / 1.10)),
    Shift("frame 10 % higher", "stretch", "mild", partial(_shrink, high=1 / 1.10)),
    Shift("frame 25 % wider", "stretch", "strong", partial(_shrink, wide=1 / 1.25)),
    Shift("frame 25 % higher", "stretch", "strong", partial(_shrink, high=1 / 1.25)),
    Shift("rotated by −5°", "rotation", "mild", partial(_rotate, degrees=-5)),
    Shift("rotated by 5°", "rotation", "mild", partial(_rotate, degrees=5)),
    Shift("rotated by −10°", "rotation", "strong", partial(_rotate, degrees=-10)),
    Shift("rotated by 10°", "rotation", "strong", partial(_rotate, degrees=10)),
    Shift("gamma 0.8", "exposure", "mild", partial(_gamma, power=0.8)),
    Shift("gamma 1.25", "exposure", "mild", partial(_gamma, power=1.25)),
    Shift("gamma 0.6", "exposure", "strong", partial(_gamma, power=0.6)),
    Shift("gamma 1.6", "exposure", "strong", partial(_gamma, power=1.6)),
    Shift("contrast × 0.75", "exposure", "mild", partial(_contrast, factor=0.75)),
    Shift("contrast × 1.25", "exposure", "mild", partial(_contrast, factor=1.25)),
    Shift("contrast × 0.5", "exposure", "strong", partial(_contrast, factor=0.5)),
    Shift("contrast × 1.5", "exposure", "strong", partial(_contrast, factor=1.5)),
    Shift("blur 0.4 %", "sharpness", "mild", partial(_blur, share=0.004)),
    Shift("blur 1 %", "sharpness", "strong", partial(_blur, share=0.01)),
    Shift("128 px", "sharpness", "mild", partial(_resolution, side=128)),
    Shift("64 px", "sharpness", "strong", partial(_resolution, side=64)),
    Shift("JPEG quality 50", "sharpness", "mild", partial(_jpeg, quality=50)),
    Shift("JPEG quality 10", "sharpness", "strong", partial(_jpeg, quality=10)),
    Shift("noise, 5 grey levels", "noise", "mild", partial(_noise, levels=5)),
    Shift("noise, 15 grey levels", "noise", "strong", partial(_noise, levels=15)),
    Shift("black border added, 4 %", "border", "mild", partial(_add_border, share=0.04)),
    Shift("black border added, 12 %", "border", "strong", partial(_add_border, share=0.12)),
    Shift("border cut off, 4 %", "border", "mild", partial(_crop, share=0.04)),
    Shift("border cut off, 10 %", "border", "strong", partial(_crop, share=0.10)),
    Shift("border blackened, 4 %", "border", "mild", partial(_cover_border, share=0.04)),
    Shift("border blackened, 10 %", "border", "strong", partial(_cover_border, share=0.10)),
    Shift("marker R added", "marker", "mild", partial(_add_marker, texts=("R",))),
    Shift("two labels added", "marker", "strong", partial(_add_marker, texts=("R", "PORTABLE"))),
    Shift("corners erased, 10 %", "marker", "mild", partial(_erase_corners, share=0.10)),
    Shift("corners erased, 18 %", "marker", "strong", partial(_erase_corners, share=0.18)),
)

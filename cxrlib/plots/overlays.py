"""Radiographs with heatmaps and contours over them."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import matplotlib as mpl
import numpy as np

# All perceptually uniform; cividis looks the same with red-green blindness (Nuñez et al. 2018).
COLOUR_MAPS = ("cividis", "viridis", "inferno", "magma")

_SCREEN_SIDE = 1000
_JPEG_QUALITY = 95


def overlay(
    pixels: np.ndarray, heatmap: np.ndarray, *, colours: str = "cividis", opacity: float = 0.6
) -> np.ndarray:
    """A radiograph with a heatmap over it.

    Args:
        pixels: ``uint8 [height, width]``.
        heatmap: ``float32 [height, width]`` in 0..1.
        colours: one of `COLOUR_MAPS`.
        opacity: cover at the heatmap's strongest place, 0..1; it fades out with the heat.

    Returns:
        ``uint8 [height, width, 3]``, RGB.
    """
    level = (heatmap * 255 + 0.5).astype(np.uint16)
    return _blends(colours, opacity).take(level * 256 + pixels, axis=0)


def outlined(image: np.ndarray, contours: Sequence[np.ndarray]) -> np.ndarray:
    """An image with borders ``int32 [n, 2]`` (x, y) drawn over it.

    White with a dark rim: seen on every colour map and on bright and dark ground.

    Args:
        image: ``uint8 [height, width, 3]``, or 4 with opacity: the borders are opaque.
        contours: the borders.
    """
    drawn = image.copy()
    width = max(1, round(max(image.shape) / 450))
    for shade, extra in ((20, 2), (255, 0)):
        colour = (shade, shade, shade, 255)
        cv2.polylines(drawn, contours, True, colour, width + extra, cv2.LINE_AA)
    return drawn


def for_screen(pixels: np.ndarray) -> np.ndarray:
    """A copy of ``uint8 [height, width]`` no larger than a screen needs."""
    scale = _SCREEN_SIDE / max(pixels.shape)
    if scale >= 1:
        return pixels
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def for_overlay(pixels: np.ndarray) -> np.ndarray:
    """As `for_screen`, but small images are enlarged: what is drawn over them stays fine."""
    factor = _SCREEN_SIDE // max(pixels.shape)
    if factor < 2:
        return for_screen(pixels)
    return cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def jpeg(image: np.ndarray) -> bytes:
    """An image ``uint8 [height, width]`` or RGB ``[height, width, 3]`` as a file to be looked at.

    Half as large as what Streamlit would make of it, and made sooner.
    """
    drawn = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def _palette(colours: str) -> np.ndarray:
    return mpl.colormaps[colours](np.arange(256))[:, :3] * 255


@lru_cache(maxsize=32)
def _blends(colours: str, opacity: float) -> np.ndarray:
    """Every heat over every grey, ``uint8 [256 * 256, 3]``: an image is then looked up at once."""
    levels = np.arange(256)
    palette = _palette(colours)[:, None]
    cover = (np.sqrt(levels / 255) * opacity)[:, None, None]
    grey = levels[None, :, None]
    return (grey + (palette - grey) * cover + 0.5).astype(np.uint8).reshape(-1, 3)


def heat_legend(colours: str) -> str:
    """The scale of an overlay's colours, as HTML."""
    stops = ",".join(
        f"rgb({red:.0f},{green:.0f},{blue:.0f})" for red, green, blue in _palette(colours)[::32]
    )
    return (
        '<div style="display:flex;gap:.5rem;align-items:center;font-size:.8rem;opacity:.85">'
        f'weak<div style="flex:1;height:.5rem;border-radius:.25rem;'
        f'background:linear-gradient(90deg,{stops})"></div>strong, relative to this image</div>'
    )

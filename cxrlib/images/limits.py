"""What X-rays of every format share: the limits they must keep, and their values made 8-bit grey.

The files come from strangers. Whatever a header asks for is checked before it is granted, and
what could need much memory is done in strips of rows.
"""

import io

import numpy as np
from PIL import Image

MAX_BYTES = 50 * 2**20
MAX_PIXELS = 64_000_000
MIN_SIDE = 64  # px; below it there is nothing to read

# A 50 MB file can be made of millions of empty parts, each of which costs a parser microseconds.
# A real one, a PNG in chunks of 8 kB, has some thousands.
_MAX_READS = 100_000
# Each scan of a progressive JPEG goes over the whole picture, and a hundred bytes make a scan.
_MAX_SCANS = 100
_STRIP = 2**20  # pixels


class RadiographError(ValueError):
    """A file that cannot be read as a radiograph; the message says why and what to do."""


class Source(io.BytesIO):
    """The bytes of a file for a parser, which may ask for them only so many times."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS:
            raise RadiographError(
                "The file is made of more parts than an X-ray has. Save the X-ray as PNG or JPEG."
            )
        return super().read(size)


def check_size(width: int, height: int, *, weight: int = 1) -> None:
    """Refuse a size in pixels that the file's header declares, before anything is decoded.

    Args:
        width: pixels.
        height: pixels.
        weight: how much more memory or time a pixel takes than usual; fewer are read then.

    Raises:
        RadiographError: too large or too small.
    """
    limit = MAX_PIXELS // weight
    if width * height > limit:
        raise RadiographError(
            f"The picture has {width} × {height} pixels, more than the {limit // 10**6} "
            f"megapixels that are read{' of its kind' if weight > 1 else ''}. Save it smaller, for "
            "example 2000 pixels wide."
        )
    if min(width, height) < MIN_SIDE:
        raise RadiographError(
            f"The picture has only {width} × {height} pixels; at least {MIN_SIDE} a side are "
            "needed. Export the X-ray at its original size."
        )


def check_frames(several: bool) -> None:
    """Refuse a file of `several` pictures.

    Raises:
        RadiographError: it is one.
    """
    if several:
        raise RadiographError(
            "The file holds several pictures. Save the X-ray as a file of its own."
        )


def check_scans(jpeg: bytes) -> None:
    """Refuse a JPEG that takes minutes to decode because it goes over the picture too often.

    Raises:
        RadiographError: it has more scans than any encoder makes.
    """
    if jpeg.count(b"\xff\xda") > _MAX_SCANS:
        raise RadiographError(
            "The JPEG picture is built up in too many steps. Save the X-ray again, as PNG or as "
            "an ordinary JPEG."
        )


def scale(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map `black`..`white` to 0..255, clipped and rounded, as uint8; NaN becomes black.

    `white` may lie below `black`, which inverts the picture.
    """
    grey = np.zeros(values.shape, np.uint8)
    if black == white:
        return grey
    rows = max(1, _STRIP * len(values) // values.size)
    for top in range(0, len(values), rows):
        part = np.subtract(values[top : top + rows], black, dtype=np.float64)
        part *= 255 / (white - black)
        np.nan_to_num(part, copy=False)
        grey[top : top + rows] = np.rint(part.clip(0, 255, out=part), out=part)
    return grey


def sample(pixels: np.ndarray, side: int = 1024) -> np.ndarray:
    """About every so many of the pixels ``[height, width]`` that `side` a side are left."""
    rows, columns = (max(1, length // side) for length in pixels.shape)
    return pixels[::rows, ::columns]


def robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Black and white for deep grey values: their 0.5th and 99.5th percentile.

    Raises:
        ValueError: none of them is finite.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("no finite pixel value")
    black, white = np.percentile(values, (0.5, 99.5))
    if black == white:  # a small object on a uniform ground
        black, white = values.min(), values.max()
    return float(black), float(white)


def luminance(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """A picture of up to 8 bits a channel as grey ``uint8 [height, width]``, laid on black.

    The list holds a warning where its colour is more than a tint.
    """
    grey = np.empty((image.height, image.width), np.uint8)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        grey[top : top + rows] = _on_black(strip).convert("L")
    if image.mode in ("1", "L"):
        return grey, []
    small = image.resize([min(side, 512) for side in image.size], Image.Resampling.NEAREST)
    chroma = np.ptp(_on_black(small).convert("RGB"), axis=2)
    if np.mean(chroma > 32) <= 0.02:  # the tint of scanned film stays below
        return grey, []
    return grey, [
        "This is a colour picture; an X-ray is grey. If it is a photograph or a screenshot, "
        "use the original X-ray file; if it is something else, disregard the result."
    ]


def _on_black(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    # Luminance is that of RGB: from CMYK and others, Pillow would not get there in one step.
    return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")

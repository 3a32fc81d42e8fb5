"""Grey values of any depth, colour and transparency made 8-bit grey.

What could need much memory is done in strips of rows.
"""

import numpy as np
from PIL import Image

_STRIP = 2**20  # pixels
# Radiographs of 8 bits use 70 % of their range and more.
_FILLED = 0.5
_DEPTHS = (8, 10, 12, 14, 16, 32)  # bits, as devices store them in containers of 16 and 32


def scale(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map `black`..`white` to 0..255, clipped and rounded, as uint8; NaN becomes black.

    `white` may lie below `black`, which inverts the image.
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

    A lead letter or a few dead pixels, which would set the scale from minimum to maximum, cover
    less than that.

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


def container(values: np.ndarray) -> tuple[float, float]:
    """The range that deep grey values were most likely stored in.

    The smallest usual depth that holds them: 12-bit values in a 16-bit file run to 4095. Fractions
    from 0 to 1 run to 1.

    Args:
        values: integers or floating point, any shape; what is not finite does not count.

    Raises:
        ValueError: none of them is finite.
    """
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        if values.size == 0:
            raise ValueError("no finite pixel value")
    lowest, highest = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and lowest >= 0 and highest <= 1:
        return 0, 1
    if lowest < 0:
        bits = next((n for n in _DEPTHS if max(-lowest, highest + 1) <= 2 ** (n - 1)), 64)
        return -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1
    return 0, 2.0 ** next((n for n in _DEPTHS if highest < 2**n), 64) - 1


def fills(values: np.ndarray, limits: tuple[float, float]) -> bool:
    """Whether grey values use so much of a range that it can be taken for black to white."""
    black, white = robust_limits(values)
    return white - black >= _FILLED * abs(limits[1] - limits[0])


def luminance(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """An image of up to 8 bits a channel as grey ``uint8 [height, width]``, laid on black.

    The list holds a warning where its colour is more than a tint.
    """
    if image.mode == "P" and image.palette is None:
        raise ValueError("a palette is missing")
    opaque = _alpha_says_nothing(image)
    grey = np.empty((image.height, image.width), np.uint8)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        strip = _on_black(part, opaque)
        grey[top : top + rows] = np.asarray(strip if strip.mode == "L" else strip.convert("L"))
    if image.mode in ("1", "L", "LA", "La"):
        return grey, []
    small = image.resize([min(side, 512) for side in image.size], Image.Resampling.NEAREST)
    chroma = np.ptp(np.asarray(_on_black(small, opaque).convert("RGB")), axis=2)
    if np.mean(chroma > 32) <= 0.02:  # the tint of scanned film stays below
        return grey, []
    return grey, [
        "This is a colour image; an X-ray is grey. If it is a photograph or a screenshot, "
        "use the original X-ray file; if it is something else, disregard the result."
    ]


def _alpha_says_nothing(image: Image.Image) -> bool:
    """Whether transparency is the same everywhere: some programs write 0 and mean opaque."""
    if not image.has_transparency_data:
        return True
    if image.mode == "P" and isinstance(image.info["transparency"], bytes):
        table = image.info["transparency"].ljust(256, b"\xff")
        used = {table[index] for index, count in enumerate(image.histogram()) if count}
        return len(used) == 1
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        least, most = image.getchannel(image.getbands()[-1]).getextrema()
        return least == most
    return False


def _on_black(image: Image.Image, opaque: bool) -> Image.Image:
    if opaque:
        if image.mode in ("LA", "La", "RGBA", "RGBa"):
            channels = image.split()[:-1]
            return Image.merge("RGB", channels) if len(channels) == 3 else channels[0]
        # Luminance is that of RGB: from CMYK and others, Pillow would not get there in one step.
        return image if image.mode in ("1", "L", "RGB") else image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)

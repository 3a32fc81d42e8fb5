"""One X-ray: the bytes of a file in, an 8-bit grey image out.

What is read is decided by the content alone, and what cannot be read is refused with one
error, `RadiographError`, whose message can be shown to the person who chose the file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxrlib.images import files, formats, raster
from cxrlib.images.contrast import scale
from cxrlib.images.limits import DAMAGED, MAX_BYTES, MAX_PIXELS, MIN_SIDE, RadiographError

__all__ = [
    "DETAIL_SIDE",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "Radiograph",
    "RadiographError",
    "read",
    "read_file",
    "window",
]

DETAIL_SIDE = 224  # px; below it a reading is possible but detail is missing


@dataclass(frozen=True, eq=False)
class Radiograph:
    """One X-ray, ready to be shown or read. Carries nothing that tells who the patient is.

    Attributes:
        pixels: ``uint8 [height, width]``, 0 black to 255 white, air dark.
        format: what the file turned out to be: ``JPEG``, ``PNG``, ``BMP``, ``TIFF``, ``WebP``
            or ``DICOM``.
        warnings: what a reader should know, one sentence or two each, with what to do about it.
    """

    pixels: np.ndarray
    format: str
    warnings: tuple[str, ...]


def read(data: bytes) -> Radiograph:
    """Read one X-ray from the bytes of a JPEG, PNG, BMP, TIFF, WebP or DICOM file.

    Eight-bit grey values are kept as they are. Deeper ones (16-bit, 32-bit, float) that use at
    least half of the range of a usual depth (8, 10, 12, 14, 16 bits) are scaled from that range,
    so that the same X-ray gives the same pixels at any depth; others run from black at their
    0.5th to white at their 99.5th percentile, and a warning says so. In DICOM the file's own
    rescale and first VOI window or table come first, MONOCHROME1 is inverted and pixel padding is
    black. Transparency is laid on black, and EXIF orientation is applied.

    Raises:
        RadiographError: the file is empty, cut off, damaged or of another kind; has over
            `MAX_BYTES` or `MAX_PIXELS`, under `MIN_SIDE` pixels a side, several frames, or none.
    """
    if not data:
        raise RadiographError("The file is empty. Copy or export it again.")
    if len(data) > MAX_BYTES:
        raise files.too_large()
    kind = formats.identify(data)
    try:
        if kind == "DICOM":
            from cxrlib.images import dicom  # pydicom takes a while to import

            pixels, warnings = dicom.read(data)
        else:
            pixels, warnings = raster.read(data, kind)
    except RadiographError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise RadiographError(
            "The image is too large to be unpacked. Save it smaller, for example 2000 pixels wide."
        ) from error
    except DAMAGED as error:
        raise RadiographError(
            f"The {kind} file is damaged or cut off. Copy or export it again."
        ) from error
    return Radiograph(pixels, kind, (*warnings, *_image_warnings(pixels)))


def read_file(file: Path) -> Radiograph:
    """As `read`, of a file on the disk; what is too large is not loaded.

    Raises:
        RadiographError: also where the file cannot be opened.
    """
    return read(files.load(file))


def window(pixels: np.ndarray, *, center: float, width: float, invert: bool = False) -> np.ndarray:
    """Display window: grey levels around `center` spread over black to white.

    Args:
        pixels: ``uint8 [height, width]``.
        center: the grey level (0..255) shown as mid-grey, also called the level.
        width: how many grey levels, above 0, lie between black and white.
        invert: show black as white.

    Returns:
        ``uint8 [height, width]``; a centre of 127.5 and a width of 255 change nothing.
    """
    if width <= 0:
        raise ValueError(f"The window's width must be above 0, not {width}.")
    table = scale(np.arange(256), center - width / 2, center + width / 2)
    return (255 - table if invert else table)[pixels]


def _image_warnings(pixels: np.ndarray) -> list[str]:
    height, width = pixels.shape
    short, long = sorted(pixels.shape)
    warnings = []
    if short < DETAIL_SIDE:
        warnings.append(
            f"The image is small ({width} × {height} pixels), so fine detail is missing. "
            "Export the X-ray at its original size."
        )
    if long > 2 * short:
        warnings.append(
            f"The image is very {'tall' if height > width else 'wide'} and seems to be cropped. "
            "Use the whole chest X-ray, with both lungs in view."
        )
    dark, bright = np.percentile(pixels[:: max(1, height // 128), :: max(1, width // 128)], (5, 95))
    if bright - dark < 32:
        warnings.append(
            "The image has almost no contrast. Check that it is not blank, "
            "or export the X-ray again with a suitable window."
        )
    return warnings

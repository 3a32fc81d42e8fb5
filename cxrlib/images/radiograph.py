"""One X-ray: the bytes of a file in, an 8-bit grey picture out.

What is read is decided by the content alone, and what cannot be read is refused with one
error, `RadiographError`, whose message can be shown to the person who chose the file.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from cxrlib.images.limits import (
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    RadiographError,
    Source,
    check_frames,
    check_scans,
    check_size,
    luminance,
    robust_limits,
    sample,
    scale,
)

__all__ = [
    "DETAIL_SIDE",
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "SUFFIXES",
    "Radiograph",
    "RadiographError",
    "read",
    "window",
]

# By which pictures are looked for in a folder; how a file is read, its content alone decides.
SUFFIXES = {".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom"}

DETAIL_SIDE = 224  # px; below it a reading is possible but detail is missing

# Signature → Pillow's reader. The readers are called directly, not through `Image.open`:
# its guard against huge pictures warns process-wide, ours refuses before anything is decoded.
_PICTURES: dict[str, tuple[re.Pattern[bytes], type[ImageFile.ImageFile]]] = {
    "JPEG": (re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    "BMP": (re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    "WebP": (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
}
_MAX_TILE = 2**22  # pixels; tiles stand over the edge of small pictures
# With the preamble, or as old equipment writes it: starting at group 0002 or 0008.
_DICOM = re.compile(rb".{128}DICM|[\x02\x08]\0[\0-\x20]\0", re.DOTALL)

# fmt: off
# What decoders raise on damaged input; those of imagecodecs are RuntimeErrors.
_DAMAGED = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error,
    ArithmeticError, AttributeError, LookupError, TypeError,
)
# fmt: on


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

    Eight-bit grey values are kept as they are. Deeper ones (16-bit, 32-bit, float) run from
    black at their 0.5th to white at their 99.5th percentile: a lead letter or a few dead pixels,
    which would set the scale from minimum to maximum, cover less than that. In DICOM the
    file's own rescale and first VOI window or table come first, MONOCHROME1 is inverted and
    pixel padding is black. Transparency is laid on black, and EXIF orientation is applied.

    Raises:
        RadiographError: the file is empty, cut off, damaged or of another kind; has over
            `MAX_BYTES` or `MAX_PIXELS`, under `MIN_SIDE` pixels a side, several frames, or none.
    """
    if not data:
        raise RadiographError("The file is empty. Copy or export it again.")
    if len(data) > MAX_BYTES:
        raise RadiographError(
            f"The file is larger than the {MAX_BYTES // 2**20} MB that are read. "
            "Save the X-ray as JPEG or PNG."
        )
    name = _format(data)
    try:
        if name == "DICOM":
            from cxrlib.images import dicom  # pydicom takes a while to import

            pixels, warnings = dicom.read(data)
        else:
            pixels, warnings = _read_picture(data, name)
    except RadiographError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise RadiographError(
            "The picture is too large to be unpacked. Save it smaller, for example 2000 pixels "
            "wide."
        ) from error
    except _DAMAGED as error:
        raise RadiographError(
            f"The {name} file is damaged or cut off. Copy or export it again."
        ) from error
    return Radiograph(pixels, name, (*warnings, *_picture_warnings(pixels)))


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


def _format(data: bytes) -> str:
    if _DICOM.match(data):  # first, because a DICOM preamble may hold a TIFF header
        return "DICOM"
    for name, (signature, _) in _PICTURES.items():
        if signature.match(data):
            return name
    raise RadiographError(
        "The file is not a picture that can be read. Save the X-ray as "
        "JPEG, PNG, BMP, TIFF, WebP or DICOM."
    )


def _read_picture(data: bytes, name: str) -> tuple[np.ndarray, list[str]]:
    _, reader = _PICTURES[name]
    image: Image.Image = reader(Source(data))
    progressive = image.info.get("progressive") and len(image.getbands()) > 1
    heavy = progressive or name == "WebP" or image.mode in ("I", "F")
    check_size(*image.size, weight=2 if heavy else 1)
    check_frames(getattr(image, "is_animated", False))
    if name == "JPEG":
        check_scans(data)
    tiff_tags = getattr(image, "tag_v2", {})
    tile = tiff_tags.get(TiffImagePlugin.TILEWIDTH, 0) * tiff_tags.get(
        TiffImagePlugin.TILELENGTH, 0
    )
    if tile > max(image.width * image.height, _MAX_TILE):
        raise ValueError("a tile larger than the picture")
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    image.load()

    warnings: list[str] = []
    if turned:
        warnings.append(
            "The file asks for the picture to be turned or mirrored (EXIF), and this was done. "
            "Check that the head is up and that the side marker can be read."
        )
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        black, white = robust_limits(sample(values))
        # White is zero: Pillow inverts such pictures itself, but only up to 8 bits.
        if tiff_tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            black, white = white, black
        grey = scale(values, black, white)
    else:
        grey, colour_warnings = luminance(image)
        warnings += colour_warnings
    # Of a TIFF, Pillow has turned the pixels already and taken the tag away.
    return _upright(grey, image.getexif().get(ExifTags.Base.Orientation, 1)), warnings


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns as EXIF's orientation, 1 to 8, wants them seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _picture_warnings(pixels: np.ndarray) -> list[str]:
    height, width = pixels.shape
    short, long = sorted(pixels.shape)
    warnings = []
    if short < DETAIL_SIDE:
        warnings.append(
            f"The picture is small ({width} × {height} pixels), so fine detail is missing. "
            "Export the X-ray at its original size."
        )
    if long > 2 * short:
        warnings.append(
            f"The picture is very {'tall' if height > width else 'wide'} and seems to be cropped. "
            "Use the whole chest X-ray, with both lungs in view."
        )
    dark, bright = np.percentile(pixels[:: max(1, height // 128), :: max(1, width // 128)], (5, 95))
    if bright - dark < 32:
        warnings.append(
            "The picture has almost no contrast. Check that it is not blank, "
            "or export the X-ray again with a suitable window."
        )
    return warnings

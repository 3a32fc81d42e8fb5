"""The grey image in a JPEG, PNG, BMP, TIFF or WebP file.

Pillow's readers are called directly, not through `Image.open`: its guard against huge images warns
process-wide, ours refuses before anything is decoded.
"""

import struct
import zlib

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

from cxrlib.images.contrast import container, fills, luminance, robust_limits, sample, scale
from cxrlib.images.formats import not_read
from cxrlib.images.limits import (
    MAX_PARTS,
    Source,
    check_frames,
    check_scans,
    check_size,
    decoding,
    too_many_parts,
)

_MAX_TILE = 2**22  # pixels; tiles stand over the edge of small images
_MAX_PAGES = 16
_THUMBNAIL = 0.5  # of the largest page's width and height, at most
_NEW_SUBFILE_TYPE, _REDUCED = 254, 1
_SIGNED = 2  # of TIFF's SampleFormat
_TIFF_NUMBERS = {
    1: ("unsigned integers", (1, 2, 4, 8, 12, 16, 32)),
    _SIGNED: ("signed integers", (8, 16, 32)),
    3: ("floating-point numbers", (32,)),
}

CONTRAST_SET = (
    "The image's grey values use only a part of their range, so the program set the contrast. "
    "Compare it with the original, or export the X-ray as an 8-bit image."
)


class _TiffFile(TiffImagePlugin.TiffImageFile):
    """A TIFF whose variant is called by its name where Pillow does not read it."""

    def _setup(self) -> None:
        tags = self.tag_v2
        compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
        if compression not in TiffImagePlugin.COMPRESSION_INFO:
            raise not_read(
                f"a TIFF image compressed in a rare way (number {compression})",
                "Save the X-ray uncompressed, or as PNG.",
            )
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0]
        numbers, depths = _TIFF_NUMBERS.get(
            tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0], ("numbers of an unusual kind", ())
        )
        if bits not in depths:
            raise not_read(
                f"a TIFF image of {numbers} of {bits} bits", "Save the X-ray with 8 or 16 bits."
            )
        super()._setup()


_READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": _TiffFile,
    "WebP": WebPImagePlugin.WebPImageFile,
}


def read(data: bytes, kind: str) -> tuple[np.ndarray, list[str]]:
    """The image, ``uint8 [height, width]``, and what a reader should know of it.

    Args:
        data: the file's bytes.
        kind: its format, as `formats.identify` names it.

    Raises:
        RadiographError: it is of a size or a variant that is not read.
        Exception: whatever the decoders raise on damaged input.
    """
    if kind == "PNG":
        _check_sums(data)
    image = _READERS[kind](Source(data))
    warnings = _choose_page(image) if isinstance(image, _TiffFile) else []
    progressive = image.info.get("progressive") and len(image.getbands()) > 1
    heavy = progressive or kind == "WebP" or image.mode in ("I", "F")
    weight = 2 if heavy else 1
    check_size(*image.size, weight=weight)
    if kind != "TIFF":
        check_frames(getattr(image, "is_animated", False))
    if kind == "JPEG":
        check_scans(data)
    with decoding(*image.size, weight=weight):
        grey, decoded_warnings = _decode(image)
    return grey, warnings + decoded_warnings


def _decode(image: ImageFile.ImageFile) -> tuple[np.ndarray, list[str]]:
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(TiffImagePlugin.TILEWIDTH, 0) * tags.get(TiffImagePlugin.TILELENGTH, 0)
    if tile > max(image.width * image.height, _MAX_TILE):
        raise ValueError("a tile larger than the image")
    rotated = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    image.load()

    warnings = []
    if rotated:
        warnings.append(
            "The file asks for the image to be rotated or mirrored (EXIF), and this was done. "
            "Check that the head is up and that the side marker can be read."
        )
    values = _deep_values(image)
    if values is not None:
        limits, set_by_program = _limits(values)
        # White is zero: Pillow inverts such images itself, but only up to 8 bits.
        if tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            limits = limits[::-1]
        grey = scale(values, *limits)
        if set_by_program:
            warnings.append(CONTRAST_SET)
    else:
        grey, colour_warnings = luminance(image)
        warnings += colour_warnings
    # Of a TIFF, Pillow has turned the pixels already and taken the tag away.
    return _upright(grey, image.getexif().get(ExifTags.Base.Orientation, 1)), warnings


def _deep_values(image: Image.Image) -> np.ndarray | None:
    """Grey values that are not plain 8 bits, with the sign that the file gives them."""
    tags = getattr(image, "tag_v2", {})
    signed = tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == _SIGNED
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return values if signed or values.dtype != np.int32 or not tags else values.view(np.uint32)
    if image.mode == "F":
        return np.asarray(image)
    # Pillow takes signed bytes for unsigned ones.
    return np.asarray(image).view(np.int8) if image.mode == "L" and signed else None


def _limits(values: np.ndarray) -> tuple[tuple[float, float], bool]:
    """Black and white of deep grey values, and whether the program had to choose them."""
    whole = container(values)
    if fills(sample(values), whole):
        return whole, False
    return robust_limits(sample(values)), True


def _check_sums(png: bytes) -> None:
    """Compare the checksums of a PNG's critical chunks, which Pillow does for the header only."""
    view, at = memoryview(png), 8
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", png, at)
        if kind in (b"IHDR", b"PLTE", b"IDAT"):
            (expected,) = struct.unpack_from(">I", png, at + 8 + length)
            if zlib.crc32(view[at + 4 : at + 8 + length]) != expected:
                raise ValueError("a chunk's checksum is wrong")
        if kind == b"IEND":
            return
        at += 12 + length
    raise too_many_parts()


def _choose_page(image: _TiffFile) -> list[str]:
    """Go to the X-ray among a TIFF's pages: thumbnails of it may come before or after it."""
    pages = getattr(image, "n_frames", 1)
    if pages == 1:
        return []
    check_frames(pages > _MAX_PAGES)
    sizes = {}
    for page in range(pages):
        image.seek(page)
        if not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED:
            sizes[page] = image.size
    marked = len(sizes) == 1
    largest = max(sizes, key=lambda page: sizes[page][0] * sizes[page][1], default=0)
    for page, (width, height) in sizes.items():
        small = width <= _THUMBNAIL * sizes[largest][0] and height <= _THUMBNAIL * sizes[largest][1]
        check_frames(page != largest and not small)
    image.seek(largest)
    return [] if marked else ["The file holds smaller images too; the largest was read."]


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The rows and columns as EXIF's orientation, 1 to 8, wants them seen."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)

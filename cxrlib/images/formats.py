"""What kind a file is, by its content alone; a kind that is not read is called by its name."""

import re
import struct
import zlib
from typing import NamedTuple

from cxrlib.images.limits import RadiographError

READ = ("JPEG", "PNG", "BMP", "TIFF", "WebP", "DICOM")
_SAVE = "Save or export the X-ray as JPEG, PNG, TIFF or DICOM."
_UNPACK = "Unpack it and choose the X-ray that is in it."
_IMAGE_INSIDE = "Save the X-ray that it shows as JPEG or PNG, or use the original file."

# With the preamble, or as old equipment writes it: starting at group 0002 or 0008.
_DICOM = re.compile(rb".{128}DICM|[\x02\x08]\0[\0-\x20]\0", re.DOTALL)
_READ = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "BMP": re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
# Signature → name, and the way out.
_NOT_READ: list[tuple[re.Pattern[bytes], str, str]] = [
    (re.compile(pattern, re.DOTALL), name, way_out)
    for pattern, name, way_out in (
        (rb"....ftyp(hei|hev|mif1|msf1)", "a HEIC image", _SAVE),
        (rb"....ftypavi[fs]", "an AVIF image", _SAVE),
        (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video", _IMAGE_INSIDE),
        (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image outside DICOM", _SAVE),
        (rb"\0\0\0\x0cJXL |\xff\x0a", "a JPEG XL image", _SAVE),
        (rb"GIF8", "a GIF image", _SAVE),
        (rb"8BPS", "a Photoshop file", _SAVE),
        (rb"P[1-7]\s", "a PNM image (PGM, PPM)", _SAVE),
        (rb"\x00\x00\x01\x00", "an icon", _SAVE),
        (rb"\x76\x2f\x31\x01", "an OpenEXR image", _SAVE),
        (rb".{344}(n[+i]1)\0|....n[+i]2\0\r\n\x1a\n", "a NIfTI file", _SAVE),
        (rb"NRRD000", "an NRRD file", _SAVE),
        (rb"ObjectType *=", "a MetaImage file", _SAVE),
        (rb"\x89HDF\r\n|MATLAB 5\.0", "an HDF5 or MATLAB file", _SAVE),
        (rb"\x93NUMPY", "a NumPy array", _SAVE),
        (rb"PK\x03\x04.{26}(\[Content_Types\]|_rels|word/|ppt/|xl/)", "an Office document",
         _IMAGE_INSIDE),
        (rb"PK[\x03\x05]", "a ZIP archive", _UNPACK),
        (rb"Rar!|7z\xbc\xaf\x27\x1c|.{257}ustar|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd", "an archive",
         _UNPACK),
        (rb"%PDF", "a PDF document", _IMAGE_INSIDE),
        (rb"\xd0\xcf\x11\xe0|{\\rtf", "an Office document", _IMAGE_INSIDE),
        (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(?i:!doctype html|html|head|body|script)",
         "a web page (HTML)", _IMAGE_INSIDE),
        (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(?i:svg)", "a drawing (SVG)", _SAVE),
        (rb"(\xef\xbb\xbf)?\s*<", "an XML or HTML document", _SAVE),
        (rb"\x7fELF|MZ", "a program", _SAVE),
    )
]  # fmt: skip
_NIFTI = re.compile(rb".{344}n[+i]1\0", re.DOTALL)
_TEXT = re.compile(rb"[\t\n\r\x0c\x20-\x7e\x80-\xff]+")
_FILL = re.compile(rb"\xff+")  # before the second byte of a JPEG marker
_LOOKED_AT = 1024  # bytes of a file that has no signature
_SEGMENTS = 1000  # before a JPEG's frame header; real ones have about a dozen


class Frame(NamedTuple):
    """The frame header of a JPEG or JPEG-LS stream (ITU-T T.81, B.2.2)."""

    kind: int  # the marker's second byte
    precision: int  # bits
    height: int
    width: int
    components: int


def identify(data: bytes) -> str:
    """One of `READ`.

    Raises:
        RadiographError: the file is of another kind; the message names it.
    """
    head = data[:_LOOKED_AT]
    if _DICOM.match(head):  # first, because a DICOM preamble may hold a TIFF header
        return "DICOM"
    for name, signature in _READ.items():
        if signature.match(head):
            if name == "JPEG":
                _check_jpeg(data)
            return name
    for signature, name, way_out in _NOT_READ:
        if signature.match(head):
            raise not_read(name, way_out)
    if head.startswith(b"\x1f\x8b"):
        raise not_read(*_of_gzip(data))
    if _TEXT.fullmatch(head):
        raise not_read("a text file", _SAVE)
    raise RadiographError(
        "The file is not an image of a supported format. Save the X-ray as "
        "JPEG, PNG, BMP, TIFF, WebP or DICOM."
    )


def not_read(name: str, way_out: str = _SAVE) -> RadiographError:
    """The error for a kind that is not read, named with its article."""
    return RadiographError(f"The file is {name}, which is not supported. {way_out}")


def jpeg_frame(data: bytes) -> Frame | None:
    """The first frame header of a JPEG or JPEG-LS stream; None where there is none in sight."""
    at = 2
    for _ in range(_SEGMENTS):
        if (fill := _FILL.match(data, at)) is None:
            return None
        at = fill.end() - 1
        kind = data[at + 1] if at + 1 < len(data) else 0xD9
        if kind in (0xDA, 0xD9):
            return None
        if kind in (0xF7, *range(0xC0, 0xD0)) and kind not in (0xC4, 0xC8, 0xCC):
            header = data[at + 4 : at + 10]
            return Frame(kind, *struct.unpack(">BHHB", header)) if len(header) == 6 else None
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _check_jpeg(data: bytes) -> None:
    """Refuse the rare members of the family that Pillow does not read."""
    if (frame := jpeg_frame(data)) is None:
        return  # damaged: the decoder says so
    if frame.kind == 0xF7:
        raise not_read("a JPEG-LS image outside DICOM")
    if frame.kind in (0xC3, 0xC7, 0xCB, 0xCF):
        raise not_read("a lossless JPEG image outside DICOM")
    if frame.precision != 8:
        raise not_read(f"a {frame.precision}-bit JPEG image")


def _of_gzip(data: bytes) -> tuple[str, str]:
    try:
        start = zlib.decompressobj(31).decompress(data, _LOOKED_AT)
    except zlib.error:
        start = b""
    return ("a NIfTI file", _SAVE) if _NIFTI.match(start) else ("a gzip archive", _UNPACK)

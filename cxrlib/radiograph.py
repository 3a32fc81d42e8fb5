"""One X-ray: the bytes of a file in, an 8-bit grey picture out.

What is read is decided by the content alone, and what cannot be read is refused with one
error, `RadiographError`, whose message can be shown to the person who chose the file.

Decoders see bytes from strangers, so each is chosen for surviving damaged input: Pillow
(JPEG, JPEG 2000), pydicom (uncompressed, RLE) and imagecodecs (lossless and 12-bit JPEG,
JPEG-LS). GDCM is not used although pydicom offers it: damaged JPEG data end its process.
"""

import io
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

if TYPE_CHECKING:
    from pydicom import Dataset

MAX_BYTES = 50 * 2**20
MAX_PIXELS = 64_000_000
MIN_SIDE = 64  # px; below it there is nothing to read
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
# With the preamble, or as old equipment writes it: starting at group 0002 or 0008.
_DICOM = re.compile(rb".{128}DICM|[\x02\x08]\0[\0-\x20]\0", re.DOTALL)

# Transfer syntax → what decodes it: a pydicom plug-in, or a function of imagecodecs.
_DECODERS = {
    "1.2.840.10008.1.2": "",  # uncompressed: implicit VR little endian
    "1.2.840.10008.1.2.1": "",  # explicit VR little endian
    "1.2.840.10008.1.2.2": "",  # explicit VR big endian
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "pillow",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "jpeg8_decode",  # JPEG extended, 8 and 12 bits
    "1.2.840.10008.1.2.4.57": "jpeg8_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "jpeg8_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pillow",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pillow",  # JPEG 2000
}
_GREY_ONLY = {"jpeg8_decode", "jpegls_decode"}
_FRAME_READERS = {
    "1.2.840.10008.1.2.4.50": JpegImagePlugin.JpegImageFile,
    "1.2.840.10008.1.2.4.90": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "1.2.840.10008.1.2.4.91": Jpeg2KImagePlugin.Jpeg2KImageFile,
}

# fmt: off
# What decoders raise on damaged input; those of imagecodecs are RuntimeErrors.
_DAMAGED = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error,
    ArithmeticError, AttributeError, LookupError, TypeError,
)
# Nothing else of a DICOM file is parsed: who the patient is never enters the program.
_TAGS = [
    "Modality", "BodyPartExamined", "ViewPosition",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    "VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth",
    "PixelData",
]
_RADIOGRAPHY = {"CR", "DX", "DR", "RG"}
_MODALITIES = {
    "CT": "computed tomography", "MR": "magnetic resonance imaging", "US": "ultrasound",
    "MG": "mammography", "NM": "nuclear medicine", "PT": "positron emission tomography",
    "RF": "fluoroscopy", "XA": "angiography", "IO": "dental radiography",
    "PX": "panoramic dental radiography", "ES": "endoscopy", "XC": "a photograph",
}
# fmt: on
_CHEST = ("CHEST", "THORAX", "LUNG")
_LATERAL_VIEWS = {"LL", "RL", "LAT", "LATERAL"}


class RadiographError(ValueError):
    """A file that cannot be read as a radiograph; the message says why and what to do."""


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
        decoded = _read_dicom(data) if name == "DICOM" else _read_picture(data, name)
    except RadiographError:
        raise
    except _damage(name) as error:
        raise RadiographError(
            f"The {name} file is damaged or cut off. Copy or export it again."
        ) from error
    pixels, warnings = decoded
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
    table = _scale(np.arange(256), center - width / 2, center + width / 2)
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


def _damage(name: str) -> tuple[type[Exception], ...]:
    """What the decoders of a format raise on damaged input."""
    if name != "DICOM":
        return _DAMAGED
    from pydicom.errors import BytesLengthException

    return (*_DAMAGED, BytesLengthException)


def _check_size(width: int, height: int) -> None:
    """Refuse a size that the file's header declares, before anything is decoded."""
    if width * height > MAX_PIXELS:
        raise RadiographError(
            f"The picture has {width} × {height} pixels, more than the {MAX_PIXELS // 10**6} "
            "megapixels that are read. Save it smaller, for example 2000 pixels wide."
        )
    if min(width, height) < MIN_SIDE:
        raise RadiographError(
            f"The picture has only {width} × {height} pixels; at least {MIN_SIDE} a side are "
            "needed. Export the X-ray at its original size."
        )


def _check_frames(frames: int) -> None:
    if frames > 1:
        raise RadiographError(
            f"The file holds {frames} pictures. Save the X-ray as a file of its own."
        )


def _scale(values: np.ndarray, black: float, white: float) -> np.ndarray:
    """Map `black`..`white` to 0..255, clipped and rounded, as uint8; NaN becomes black.

    `white` may lie below `black`, which inverts the picture.
    """
    if black == white:
        return np.zeros(values.shape, np.uint8)
    scaled = np.subtract(values, black, dtype=np.float32)
    scaled *= 255 / (white - black)
    np.nan_to_num(scaled, copy=False)
    return np.rint(scaled.clip(0, 255, out=scaled), out=scaled).astype(np.uint8)


def _robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Black and white for deep grey values, from percentiles (see `read`)."""
    step = max(1, min(values.shape) // 1024)  # a million values tell the percentiles well enough
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise ValueError("no finite pixel value")
    black, white = np.percentile(sample, (0.5, 99.5))
    if black == white:  # a small object on a uniform ground
        black, white = sample.min(), sample.max()
    return float(black), float(white)


# --- pictures --------------------------------------------------------------------------------


def _read_picture(data: bytes, name: str) -> tuple[np.ndarray, list[str]]:
    _, reader = _PICTURES[name]
    image: Image.Image = reader(io.BytesIO(data))
    _check_size(*image.size)
    _check_frames(getattr(image, "n_frames", 1))
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    tiff_tags = getattr(image, "tag_v2", {})
    image.load()
    ImageOps.exif_transpose(image, in_place=True)

    warnings: list[str] = []
    if turned:
        warnings.append(
            "The file asks for the picture to be turned or mirrored (EXIF), and this was done. "
            "Check that the head is up and that the side marker can be read."
        )
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        limits = _robust_limits(values)
        # White is zero: Pillow inverts such pictures itself, but only up to 8 bits.
        inverted = tiff_tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
        return _scale(values, *(limits[::-1] if inverted else limits)), warnings
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if image.mode in ("1", "L"):
        return np.array(image.convert("L")), warnings
    grey, colour_warnings = _grey(image.convert("RGB"))
    return grey, warnings + colour_warnings


def _grey(image: Image.Image) -> tuple[np.ndarray, list[str]]:
    """Luminance of an RGB picture, with a warning where colour is more than a tint."""
    sample = np.asarray(image)[:: max(1, image.height // 512), :: max(1, image.width // 512)]
    chroma = sample.max(axis=2) - sample.min(axis=2)
    warnings = []
    if np.mean(chroma > 32) > 0.02:  # the tint of scanned film stays below
        warnings.append(
            "This is a colour picture; an X-ray is grey. If it is a photograph or a screenshot, "
            "use the original X-ray file; if it is something else, disregard the result."
        )
    return np.array(image.convert("L")), warnings


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


# --- DICOM -----------------------------------------------------------------------------------


def _read_dicom(data: bytes) -> tuple[np.ndarray, list[str]]:
    from pydicom import dcmread, uid
    from pydicom.filereader import read_dataset

    # The transfer syntax first: reading on would inflate a deflated file, whatever its size.
    file = io.BytesIO(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is not None and syntax not in _DECODERS:
        raise RadiographError(
            "The DICOM file is compressed in a way that is not read (deflated, video or rare). "
            "Export it uncompressed, or as JPEG or PNG."
        )
    file.seek(0)
    ds = dcmread(file, force=True, specific_tags=_TAGS)
    if syntax is None:  # old files carry none and are not compressed
        little_endian = ds.original_encoding[1]
        syntax = uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = syntax

    if not ds.get("Rows") or not ds.get("Columns") or not ds.get("PixelData"):
        raise RadiographError(
            "The DICOM file holds no picture (it may be a report or a list). "
            "Export the X-ray itself from the viewer or archive."
        )
    _check_frames(int(ds.get("NumberOfFrames") or 1))
    _check_size(int(ds.Columns), int(ds.Rows))
    photometric = ds.PhotometricInterpretation
    decoder = _DECODERS[syntax]
    if photometric == "PALETTE COLOR" or (ds.SamplesPerPixel != 1 and decoder in _GREY_ONLY):
        raise RadiographError(
            "The DICOM file holds a colour picture of a kind that is not read. "
            "Export it as JPEG or PNG."
        )
    values = _decode(ds, decoder)
    if values.ndim == 3:
        black, white = _stored_range(ds)
        grey, colour_warnings = _grey(Image.fromarray(_scale(values, black, white)))
        return grey, _dicom_warnings(ds) + colour_warnings
    return _displayed(ds, values), _dicom_warnings(ds)


def _decode(ds: "Dataset", decoder: str) -> np.ndarray:
    """Stored values ``[rows, columns]`` or ``[rows, columns, 3]``.

    What a compressed picture says of its own size is held against the header's before it is
    decoded, so that it cannot ask for more memory than a radiograph needs.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels import pixel_array

    shape = (int(ds.Rows), int(ds.Columns))
    if decoder in _GREY_ONLY:
        import imagecodecs

        bits = ds.BitsStored
        values = np.empty(shape, np.uint8 if bits <= 8 else np.uint16)
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        getattr(imagecodecs, decoder)(frame, out=values)
        if ds.PixelRepresentation == 1:
            unused = 8 * values.itemsize - bits
            signed = np.int8 if bits <= 8 else np.int16
            values = (values << unused).view(signed) >> unused
        return values
    if reader := _FRAME_READERS.get(ds.file_meta.TransferSyntaxUID):
        frame = get_frame(ds.PixelData, 0, number_of_frames=1)
        if reader(io.BytesIO(frame)).size != shape[::-1]:
            raise ValueError("the compressed picture is not of the size the header declares")
    return pixel_array(ds, decoding_plugin=decoder)


def _stored_range(ds: "Dataset") -> tuple[int, int]:
    """The lowest and highest value that the stored bits can hold."""
    lowest = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    return lowest, lowest + 2**ds.BitsStored - 1


def _displayed(ds: "Dataset", stored: np.ndarray) -> np.ndarray:
    """Stored values → modality rescale or table → VOI table or window → uint8, air dark."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

    values = apply_modality_lut(stored, ds)
    limits: tuple[float, float] | None = None
    if ds.get("VOILUTSequence"):
        descriptor = ds.VOILUTSequence[0].LUTDescriptor
        limits = (0, 2 ** descriptor[2] - 1)
        descriptor[2] = 16  # with 8, pydicom 3.0 looks up entry 256 and above modulo 256
        values = apply_voi(np.rint(values).astype(np.int32), ds)
    elif "WindowCenter" in ds and ds.get("WindowWidth"):
        center, width = (np.ravel(ds[k].value)[0] for k in ("WindowCenter", "WindowWidth"))
        values = apply_windowing(values, ds)
        # What lies far outside the window comes out as black and white.
        far = float(center) + float(width) * np.array([[-8.0, 8.0]])
        limits = tuple(apply_windowing(far, ds)[0])
    elif ds.BitsStored <= 8:  # such values are meant to be displayed as they are
        limits = tuple(apply_modality_lut(np.array([_stored_range(ds)]), ds)[0])

    if (padding := ds.get("PixelPaddingValue")) is not None:
        first, last = sorted((padding, ds.get("PixelPaddingRangeLimit", padding)))
        values = np.where((stored >= first) & (stored <= last), np.nan, values)
    black, white = limits or _robust_limits(values)
    if ds.PhotometricInterpretation == "MONOCHROME1":
        black, white = white, black
    return _scale(values, black, white)


def _dicom_warnings(ds: "Dataset") -> list[str]:
    def code(keyword: str) -> str:
        # Raw, because pydicom quotes a malformed value, which may be a name, in its warnings.
        element = ds.get_item(keyword)
        value = element.value if element else None
        return (value or b"").decode("ascii", "replace").strip(" \0").upper()

    modality, body_part = code("Modality"), code("BodyPartExamined")
    warnings = []
    if modality and modality not in _RADIOGRAPHY:
        kind = _MODALITIES.get(modality, "another kind of examination")
        warnings.append(
            f"The file does not call itself an X-ray but {kind}. "
            "Disregard the result unless you know that it is a chest X-ray."
        )
    if body_part and not any(name in body_part for name in _CHEST):
        warnings.append(
            "The file says that it shows another part of the body than the chest. "
            "Disregard the result unless you know that it is a chest X-ray."
        )
    if code("ViewPosition") in _LATERAL_VIEWS:
        warnings.append(
            "The file says that it is a view from the side. Use the frontal (PA or AP) view."
        )
    return warnings

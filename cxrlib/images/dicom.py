"""The picture in a DICOM file, as its own rescale, window and photometric interpretation show it.

Decoders see bytes from strangers, so each was chosen for surviving damaged input. Pillow is
pydicom's plug-in for JPEG and JPEG 2000. What it does not read goes to imagecodecs, because no
other plug-in of pydicom was sound: damaged JPEG data end the process in GDCM, and hang
pylibjpeg-libjpeg; frames that are cut off hang pyjpegls; and a hostile RLE frame keeps pydicom's
own decoder, written in Python, busy for 13 seconds.
"""

import struct
from collections.abc import Callable

import imagecodecs
import numpy as np
from PIL import Image, ImageFile, Jpeg2KImagePlugin, JpegImagePlugin
from pydicom import Dataset, dcmread, uid
from pydicom.encaps import get_frame
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing

from cxrlib.images.limits import (
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

# fmt: off
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
# Bytes of a value: a million numbers where one is expected take seconds to parse. A table of
# 16 bits takes 128 kB, and there may be several.
_MAX_VALUE, _MAX_SEQUENCE = 2**10, 2**20
_RADIOGRAPHY = {"CR", "DX", "DR", "RG"}
_MODALITIES = {
    "CT": "computed tomography", "MR": "magnetic resonance imaging", "US": "ultrasound",
    "MG": "mammography", "NM": "nuclear medicine", "PT": "positron emission tomography",
    "RF": "fluoroscopy", "XA": "angiography", "IO": "dental radiography",
    "PX": "panoramic dental radiography", "ES": "endoscopy", "XC": "a photograph",
}
# fmt: on
_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_SIZE, _START_OF_TILE = b"\xff\x51", b"\xff\x90"  # of JPEG 2000
_CHEST = ("CHEST", "THORAX", "LUNG")
_LATERAL_VIEWS = {"LL", "RL", "LAT", "LATERAL"}


def read(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The picture, ``uint8 [height, width]`` with air dark, and what a reader should know of it.

    Raises:
        RadiographError: there is no picture, or one of a kind or size that is not read.
        Exception: whatever pydicom and the decoders raise on damaged input.
    """
    try:
        ds = _parse(data)
        _check(ds)
        stored = _stored_values(ds)
    except BytesLengthException as error:  # not a ValueError by itself
        raise ValueError("a value of an impossible length") from error
    if stored.ndim == 3:
        colour = Image.fromarray(scale(stored, *_stored_range(ds)))
        grey, warnings = luminance(colour)
        return grey, _warnings(ds) + warnings
    return _displayed(ds, stored), _warnings(ds)


def _parse(data: bytes) -> Dataset:
    # The transfer syntax first: reading on would inflate a deflated file, whatever its size.
    file = Source(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is not None and syntax not in _NATIVE and syntax not in _UNPACK:
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
    return ds


def _check(ds: Dataset) -> None:
    """Refuse what is no radiograph or asks for too much, before anything is decoded."""
    for keyword in _TAGS:
        value = getattr(ds.get_item(keyword), "value", None)  # as it is in the file
        limit = _MAX_SEQUENCE if keyword.endswith("Sequence") else _MAX_VALUE
        if keyword != "PixelData" and isinstance(value, bytes) and len(value) > limit:
            raise ValueError(f"{keyword} is absurdly long")
    if not ds.get("Rows") or not ds.get("Columns") or not ds.get("PixelData"):
        raise RadiographError(
            "The DICOM file holds no picture (it may be a report or a list). "
            "Export the X-ray itself from the viewer or archive."
        )
    check_frames(int(ds.get("NumberOfFrames") or 1) > 1)
    syntax, colour = ds.file_meta.TransferSyntaxUID, ds.SamplesPerPixel != 1
    heavy = syntax in (uid.JPEG2000, uid.JPEG2000Lossless)
    check_size(int(ds.Columns), int(ds.Rows), weight=6 if colour else 2 if heavy else 1)
    grey_only = _UNPACK.get(syntax) is _by_imagecodecs
    if ds.PhotometricInterpretation == "PALETTE COLOR" or (colour and grey_only):
        raise RadiographError(
            "The DICOM file holds a colour picture of a kind that is not read. "
            "Export it as JPEG or PNG."
        )
    if ds.BitsAllocated > 16:
        raise RadiographError(
            f"The DICOM file stores its pixels in {ds.BitsAllocated} bits each; X-rays take up to "
            "16. Export it with 16 bits, or as JPEG or PNG."
        )


def _stored_values(ds: Dataset) -> np.ndarray:
    """Stored values ``[rows, columns]`` or ``[rows, columns, 3]``.

    What a compressed picture says of its own size is held against the header's before it is
    decoded, so that it cannot ask for more memory than a radiograph needs.
    """
    unpack = _UNPACK.get(ds.file_meta.TransferSyntaxUID)
    if unpack is None:
        return pixel_array(ds)
    frame = get_frame(Source(ds.PixelData), 0, number_of_frames=1)
    # Where the data end without a marker, libjpeg and OpenJPEG may invent the rest, and CharLS
    # looks for it forever. After the marker there may be padding.
    if unpack is not _run_lengths and not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise ValueError("the compressed picture is cut off")
    return unpack(ds, frame)


def _by_pillow(ds: Dataset, frame: bytes) -> np.ndarray:
    jpeg = ds.file_meta.TransferSyntaxUID == uid.JPEGBaseline8Bit
    reader = JpegImagePlugin.JpegImageFile if jpeg else Jpeg2KImagePlugin.Jpeg2KImageFile
    image: ImageFile.ImageFile = reader(Source(frame))
    if image.size != (ds.Columns, ds.Rows):
        raise ValueError("the compressed picture is not of the size the header declares")
    if jpeg:
        check_scans(frame)
    elif frame.count(_START_OF_TILE) < _tiles(frame):  # OpenJPEG leaves the others black
        raise ValueError("tiles of the compressed picture are missing")
    return pixel_array(ds, decoding_plugin="pillow")


def _tiles(codestream: bytes) -> int:
    """How many tiles a JPEG 2000 codestream declares (ISO 15444-1, A.5.1)."""
    start = codestream.index(_SIZE) + 6
    sizes = struct.unpack(">8I", codestream[start : start + 32])
    width, height, _, _, tile_width, tile_height, tile_left, tile_top = sizes
    return -((tile_left - width) // tile_width) * -((tile_top - height) // tile_height)


def _by_imagecodecs(ds: Dataset, frame: bytes) -> np.ndarray:
    values = np.empty((ds.Rows, ds.Columns), np.uint8 if ds.BitsStored <= 8 else np.uint16)
    if ds.file_meta.TransferSyntaxUID in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        imagecodecs.jpegls_decode(frame, out=values)
    else:
        check_scans(frame)
        imagecodecs.jpeg8_decode(frame, out=values)
    return _uncompressed(ds, values)


def _run_lengths(ds: Dataset, frame: bytes) -> np.ndarray:
    """RLE: a segment of run lengths for each sample's bytes, the most significant one first."""
    shape = (ds.SamplesPerPixel, ds.BitsAllocated // 8, ds.Rows, ds.Columns)
    planes = np.empty((shape[0] * shape[1], ds.Rows * ds.Columns), np.uint8)
    count, *starts = struct.unpack("<16L", frame[:64])
    if count != len(planes):
        raise ValueError("other segments than the header declares")
    for plane, start, end in zip(planes, starts, [*starts[1:count], len(frame)], strict=False):
        if imagecodecs.packbits_decode(frame[start:end], out=plane).size != plane.size:
            raise ValueError("a segment is too short")
    values = planes.reshape(shape)[:, ::-1].transpose(0, 2, 3, 1)  # little endian
    ds.PlanarConfiguration = 1
    return _uncompressed(ds, np.ascontiguousarray(values).view(f"<u{shape[1]}")[..., 0])


def _uncompressed(ds: Dataset, values: np.ndarray) -> np.ndarray:
    """What pydicom makes of decoded values: it knows about signs and unused bits."""
    ds.BitsAllocated = 8 * values.itemsize
    ds.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return pixel_array(ds)


_NATIVE = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
_UNPACK: dict[str, Callable[[Dataset, bytes], np.ndarray]] = {
    uid.RLELossless: _run_lengths,
    uid.JPEGBaseline8Bit: _by_pillow,
    uid.JPEG2000Lossless: _by_pillow,
    uid.JPEG2000: _by_pillow,
    uid.JPEGExtended12Bit: _by_imagecodecs,
    uid.JPEGLossless: _by_imagecodecs,
    uid.JPEGLosslessSV1: _by_imagecodecs,
    uid.JPEGLSLossless: _by_imagecodecs,
    uid.JPEGLSNearLossless: _by_imagecodecs,
}


def _stored_range(ds: Dataset) -> tuple[int, int]:
    """The lowest and highest value that the stored bits can hold."""
    lowest = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    return lowest, lowest + 2**ds.BitsStored - 1


def _displayed(ds: Dataset, stored: np.ndarray) -> np.ndarray:
    """Stored values → modality rescale or table → VOI table or window → uint8, air dark.

    Computed once for each value that can be stored and looked up for each pixel: faster, and a
    large picture is never held as floating point.
    """
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    pixels = stored.view(f"u{stored.itemsize}")
    every = np.arange(2 ** (8 * stored.itemsize)).astype(pixels.dtype).view(stored.dtype)
    values = apply_modality_lut(every, ds)
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
        # A negative slope turns the two ends round; the values are turned by it already.
        limits = tuple(sorted(apply_modality_lut(np.array([_stored_range(ds)]), ds)[0]))

    if (padding := ds.get("PixelPaddingValue")) is not None:
        first, last = sorted((padding, ds.get("PixelPaddingRangeLimit", padding)))
        values = np.where((every >= first) & (every <= last), np.nan, values)
    black, white = limits or robust_limits(values[sample(pixels)])
    if ds.PhotometricInterpretation == "MONOCHROME1":
        black, white = white, black
    return scale(values, black, white)[pixels]


def _warnings(ds: Dataset) -> list[str]:
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

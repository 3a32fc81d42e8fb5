"""The stored values of a DICOM image, decoded.

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
from PIL import ImageFile, Jpeg2KImagePlugin, JpegImagePlugin
from pydicom import Dataset, uid
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array

from cxrlib.images.contrast import sample
from cxrlib.images.formats import jpeg_frame
from cxrlib.images.limits import RadiographError, Source, check_scans

_END_OF_IMAGE = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_SIZE, _START_OF_TILE = b"\xff\x51", b"\xff\x90"  # of JPEG 2000
_STRAY = 0.02  # of the pixels; overlays in the unused bits cover less


def reads(syntax: str, *, colour: bool = False) -> bool:
    """Whether a transfer syntax is read."""
    unpack = _UNPACK.get(syntax)
    return is_native(syntax) or (unpack is not None and not (colour and unpack is _by_imagecodecs))


def is_native(syntax: str) -> bool:
    """Whether a transfer syntax does not compress."""
    return syntax in (
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
    )


def stored_values(ds: Dataset) -> np.ndarray:
    """Stored values ``[rows, columns]`` or ``[rows, columns, 3]``.

    What a compressed image says of its own size is compared with the header before it is
    decoded, so that it cannot ask for more memory than a radiograph needs.

    Raises:
        RadiographError: there are more pixels than rows and columns explain.
        Exception: whatever pydicom and the decoders raise on damaged input.
    """
    unpack = _UNPACK.get(ds.file_meta.TransferSyntaxUID)
    if unpack is None:
        _check_length(ds)
        return _native(ds)
    frame = get_frame(Source(ds.PixelData), 0, number_of_frames=1)
    # Where the data end without a marker, libjpeg and OpenJPEG may invent the rest, and CharLS
    # looks for it forever. After the marker there may be padding.
    if unpack is not _run_lengths and not frame.rstrip(b"\0").endswith(_END_OF_IMAGE):
        raise ValueError("the compressed image is cut off")
    return unpack(ds, frame)


def stored_range(ds: Dataset) -> tuple[int, int]:
    """The lowest and highest value that the stored bits can hold."""
    lowest = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    return lowest, lowest + 2**ds.BitsStored - 1


def _check_length(ds: Dataset) -> None:
    """Refuse an image whose rows and columns do not explain its pixels: it would come out skewed.

    Up to a row of zeros behind them is padding.
    """
    row = ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        row = row * 2 // 3
    rest = memoryview(ds.PixelData)[row * ds.Rows :]
    if len(rest) > 1 and (len(rest) >= row or any(rest)):
        raise RadiographError(
            f"The DICOM file holds more pixel data than {ds.Rows} rows and {ds.Columns} columns "
            "explain: they are wrong, or it holds several images. Export the X-ray again, or as "
            "JPEG or PNG."
        )


def _native(ds: Dataset) -> np.ndarray:
    if ds.SamplesPerPixel != 1:
        return pixel_array(ds)
    stored = ds.BitsStored
    ds.BitsStored = ds.BitsAllocated  # pydicom would cut off what lies above
    values = pixel_array(ds, raw=True)
    ds.BitsStored = stored
    return _significant(ds, values.astype(values.dtype.newbyteorder("="), copy=False))


def _significant(ds: Dataset, values: np.ndarray) -> np.ndarray:
    """Grey values without the bits beside those stored, and with their sign."""
    values = values.view(f"u{values.itemsize}")
    bits, allocated = ds.BitsStored, 8 * values.itemsize
    if bits >= allocated:
        bits = ds.BitsStored = allocated
    else:
        stray = np.mean(sample(values) >> bits != 0) > _STRAY
        if stray and ds.HighBit >= bits:
            values = values >> min(ds.HighBit + 1 - bits, allocated - bits)
        elif stray and not ds.PixelRepresentation:
            # The header says less than there is: cut to that, bright places would turn dark.
            bits = ds.BitsStored = allocated
    unused = allocated - bits
    if unused or ds.PixelRepresentation:
        values = (values << unused).view(
            f"{'i' if ds.PixelRepresentation else 'u'}{values.itemsize}"
        )
        values >>= unused
    return values


def _by_pillow(ds: Dataset, frame: bytes) -> np.ndarray:
    jpeg = ds.file_meta.TransferSyntaxUID == uid.JPEGBaseline8Bit
    reader = JpegImagePlugin.JpegImageFile if jpeg else Jpeg2KImagePlugin.Jpeg2KImageFile
    image: ImageFile.ImageFile = reader(Source(frame))
    if image.size != (ds.Columns, ds.Rows):
        raise ValueError("the compressed image is not of the size the header declares")
    if jpeg:
        check_scans(frame)
        if image.mode == "L":  # 8 bits, whatever the header says of 16
            ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, _grey(ds)
            ds.BitsAllocated = 8
            ds.BitsStored = min(ds.BitsStored, 8)
            return _significant(ds, np.asarray(image))
        ds.BitsAllocated = ds.BitsStored = 8
    elif frame.count(_START_OF_TILE) < _tiles(frame):  # OpenJPEG leaves the others black
        raise ValueError("tiles of the compressed image are missing")
    return pixel_array(ds, decoding_plugin="pillow")


def _grey(ds: Dataset) -> str:
    declared = ds.PhotometricInterpretation
    return declared if declared.startswith("MONOCHROME") else "MONOCHROME2"


def _tiles(codestream: bytes) -> int:
    """How many tiles a JPEG 2000 codestream declares (ISO 15444-1, A.5.1)."""
    start = codestream.index(_SIZE) + 6
    sizes = struct.unpack(">8I", codestream[start : start + 32])
    width, height, _, _, tile_width, tile_height, tile_left, tile_top = sizes
    return -((tile_left - width) // tile_width) * -((tile_top - height) // tile_height)


def _by_imagecodecs(ds: Dataset, frame: bytes) -> np.ndarray:
    header = jpeg_frame(frame)
    if header is None or (header.height, header.width) != (ds.Rows, ds.Columns):
        raise ValueError("the compressed image is not of the size the header declares")
    values = np.empty((ds.Rows, ds.Columns), np.uint8 if header.precision <= 8 else np.uint16)
    if ds.file_meta.TransferSyntaxUID in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):
        imagecodecs.jpegls_decode(frame, out=values)
    else:
        check_scans(frame)
        imagecodecs.jpeg8_decode(frame, out=values)
    return _significant(ds, values)


def _run_lengths(ds: Dataset, frame: bytes) -> np.ndarray:
    """RLE: a segment of run lengths for each sample's bytes, the most significant one first."""
    shape = (ds.SamplesPerPixel, ds.BitsAllocated // 8, ds.Rows, ds.Columns)
    planes = np.empty((shape[0] * shape[1], ds.Rows * ds.Columns), np.uint8)
    count, *starts = struct.unpack("<16L", frame[:64])
    if count != len(planes):
        raise ValueError("other segments than the header declares")
    for plane, start, end in zip(planes, starts, [*starts[1:count], len(frame)], strict=False):
        if len(imagecodecs.packbits_decode(frame[start:end], out=plane)) != len(plane):
            raise ValueError("a segment is too short")
    values = planes.reshape(shape)[:, ::-1].transpose(0, 2, 3, 1)  # little endian
    values = np.ascontiguousarray(values).view(f"<u{shape[1]}")[..., 0]
    if len(values) == 1:
        return _significant(ds, values[0])
    ds.PlanarConfiguration = 1
    ds.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return pixel_array(ds)


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

"""X-ray files to test with: one known image in every format and compression that is read."""

import io

import imagecodecs
import numpy as np
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from cxrlib.images.radiograph import Radiograph

# An image without symmetry, all 256 grey levels, smooth enough for lossy codecs.
ROWS, COLUMNS = 240, 320
_y, _x = np.mgrid[:ROWS, :COLUMNS]
PICTURE = np.rint(255 * (0.7 * _x / (COLUMNS - 1) + 0.3 * _y / (ROWS - 1))).astype(np.uint8)
DEEP = (PICTURE.astype(np.uint16) * 16) + 7  # 12 bits: 7..4087


def save(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def dicom(
    pixels: np.ndarray = PICTURE, *, bits: int = 8, syntax=uid.ExplicitVRLittleEndian, **tags
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = uid.ComputedRadiographyImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "CR", "CHEST", "PA"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def encapsulated(ds: Dataset, frame: bytes, syntax: str) -> Dataset:
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = syntax
    return ds


def to_bytes(ds: Dataset) -> bytes:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def without(ds: Dataset, keyword: str) -> Dataset:
    delattr(ds, keyword)
    return ds


def compressed() -> dict[str, tuple[bytes, float]]:
    """DICOM files of `DEEP` by compression, with the mean error that the compression allows."""
    files = {}
    for name, syntax in [
        ("explicit", uid.ExplicitVRLittleEndian),
        ("implicit", uid.ImplicitVRLittleEndian),
        ("big endian", uid.ExplicitVRBigEndian),
    ]:
        files[name] = (to_bytes(dicom(DEEP, bits=12, syntax=syntax)), 0)
    rle = dicom(DEEP, bits=12)
    rle.compress(uid.RLELossless, encoding_plugin="pydicom")
    files["RLE"] = (to_bytes(rle), 0)
    j2k = {"format": "JPEG2000", "no_jp2": True}
    lossless = {"lossless": True, "bitspersample": 12}
    frames = {
        "JPEG baseline": (
            save(Image.fromarray(PICTURE), "JPEG", quality=95), uid.JPEGBaseline8Bit, 8, 1,
        ),
        "JPEG extended": (
            imagecodecs.jpeg8_encode(DEEP, level=98, bitspersample=12),
            uid.JPEGExtended12Bit, 12, 1,
        ),
        "JPEG lossless": (imagecodecs.jpeg8_encode(DEEP, **lossless), uid.JPEGLossless, 12, 0),
        "JPEG lossless SV1": (
            imagecodecs.jpeg8_encode(DEEP, predictor=1, **lossless), uid.JPEGLosslessSV1, 12, 0,
        ),
        "JPEG lossless 8": (
            imagecodecs.jpeg8_encode(PICTURE, lossless=True), uid.JPEGLosslessSV1, 8, 0,
        ),
        "JPEG-LS": (imagecodecs.jpegls_encode(DEEP), uid.JPEGLSLossless, 12, 0),
        "JPEG-LS near": (imagecodecs.jpegls_encode(DEEP, level=4), uid.JPEGLSNearLossless, 12, 1),
        "JPEG 2000": (save(Image.fromarray(DEEP), **j2k), uid.JPEG2000Lossless, 12, 0),
        "JPEG 2000 8": (save(Image.fromarray(PICTURE), **j2k), uid.JPEG2000, 8, 0),
    }  # fmt: skip
    for name, (frame, syntax, bits, error) in frames.items():
        ds = dicom(PICTURE if bits == 8 else DEEP, bits=bits)
        files[name] = (to_bytes(encapsulated(ds, frame, syntax)), error)
    return files


COMPRESSED = compressed()
VALID = [data for data, _ in COMPRESSED.values()] + [
    save(Image.fromarray(PICTURE), "JPEG"),
    save(Image.fromarray(PICTURE), "JPEG", progressive=True),
    save(Image.fromarray(PICTURE).convert("RGBA"), "PNG"),
    save(Image.fromarray(DEEP), "PNG"),
    save(Image.fromarray(PICTURE), "BMP"),
    save(Image.fromarray(PICTURE).convert("CMYK"), "TIFF", compression="tiff_lzw"),
    save(Image.fromarray(DEEP.astype(np.float32)), "TIFF"),
    save(Image.fromarray(PICTURE).convert("RGB"), "WebP"),
]


def of_12_bits(values: np.ndarray) -> np.ndarray:
    return np.rint(values * (255 / 4095))


def stretched(values: np.ndarray) -> np.ndarray:
    black, white = np.percentile(values, (0.5, 99.5))
    return np.rint(np.clip((values - black) / (white - black), 0, 1) * 255)


def mean_error(result: Radiograph, expected: np.ndarray) -> float:
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == expected.shape
    return float(np.abs(result.pixels.astype(float) - expected).mean())

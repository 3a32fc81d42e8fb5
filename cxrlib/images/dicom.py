"""The image in a DICOM file, as its own rescale, window and photometric interpretation show it.

`dicom_pixels` decodes, `dicom_display` turns stored values into grey levels; here the header is
parsed, completed where a missing attribute has an obvious default, and checked.
"""

import re
import unicodedata

import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread, uid
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.filereader import read_dataset

from cxrlib.images import dicom_display, dicom_pixels
from cxrlib.images.contrast import luminance, scale
from cxrlib.images.formats import not_read
from cxrlib.images.limits import RadiographError, Source, check_frames, check_size, decoding

# fmt: off
# Nothing else of a DICOM file is parsed: who the patient is never enters the program.
_TAGS = [
    "Modality", "BodyPartExamined", "ViewPosition", "PresentationIntentType",
    "PresentationLUTShape", "PixelAspectRatio", "ImagerPixelSpacing", "PixelSpacing",
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
# Beginnings of the words for chest, thorax and lung, and what means no part of the body.
_CHEST = re.compile(
    "CHEST|THOR|TORA|THX|CXR|LUNG|PULM|POUM|POLMON|BRUSTK|KLATKA|HRUD|MELLKAS|RINTAKEHA|BORSTKAS"
)
_UNKNOWN = re.compile("|NA|NONE|NULL|UNKNOWN|UNDEFINED|UNSPECIFIED|OTHER|DEFAULT|GENERAL|ANY|ALL")
_LATERAL_VIEWS = {"LL", "RL", "LAT", "LATERAL"}
_PHOTOMETRIC = (
    "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422",
    "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT",
)
# fmt: on


def read(data: bytes) -> tuple[np.ndarray, list[str]]:
    """The image, ``uint8 [height, width]`` with air dark, and what a reader should know of it.

    Raises:
        RadiographError: there is no image, or one of a kind or size that is not read.
        Exception: whatever pydicom and the decoders raise on damaged input.
    """
    try:
        ds = _parse(data)
        weight = _check(ds)
        with decoding(ds.Columns, ds.Rows, weight=weight):
            stored = dicom_pixels.stored_values(ds)
            if stored.ndim == 3:
                lowest, highest = dicom_pixels.stored_range(ds)
                grey, warnings = luminance(Image.fromarray(scale(stored, lowest, highest)))
            else:
                grey, warnings = dicom_display.displayed(ds, stored)
            grey = _square_pixels(ds, grey)
    except BytesLengthException as error:  # not a ValueError by itself
        raise ValueError("a value of an impossible length") from error
    return grey, _header_warnings(ds) + warnings


def _parse(data: bytes) -> Dataset:
    # The transfer syntax first: reading on would inflate a deflated file, whatever its size.
    file = Source(data)
    file.seek(132 if data[128:132] == b"DICM" else 0)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    syntax = meta.get("TransferSyntaxUID")
    if syntax is not None and not dicom_pixels.reads(syntax):
        name = f" ({syntax.name})" if syntax.is_transfer_syntax else ""
        raise not_read(
            f"a DICOM file compressed in a rare way{name}",
            "Export the X-ray uncompressed, or as JPEG or PNG.",
        )
    file.seek(0)
    ds = dcmread(file, force=True, specific_tags=_TAGS)
    if syntax is None:  # old files carry none and are not compressed
        little_endian = ds.original_encoding[1]
        syntax = uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = syntax
    return ds


def _check(ds: Dataset) -> int:
    """Refuse what is no radiograph or asks for too much, before anything is decoded.

    Returns:
        How much more memory a pixel takes than usual.
    """
    for keyword in _TAGS:
        value = getattr(ds.get_item(keyword), "value", None)  # as it is in the file
        limit = _MAX_SEQUENCE if keyword.endswith("Sequence") else _MAX_VALUE
        if keyword != "PixelData" and isinstance(value, bytes) and len(value) > limit:
            raise ValueError(f"{keyword} is absurdly long")
    if not ds.get("Rows") or not ds.get("Columns") or not ds.get("PixelData"):
        raise RadiographError(
            "The DICOM file holds no image (it may be a report or a list). "
            "Export the X-ray itself from the viewer or archive."
        )
    frames = dicom_display.numbers(ds, "NumberOfFrames")
    check_frames(bool(frames) and frames[0] > 1)
    ds.Rows, ds.Columns = int(ds.Rows), int(ds.Columns)
    _complete(ds)
    syntax, colour = ds.file_meta.TransferSyntaxUID, ds.SamplesPerPixel != 1
    weight = 6 if colour else 2 if syntax in (uid.JPEG2000, uid.JPEG2000Lossless) else 1
    check_size(ds.Columns, ds.Rows, weight=weight)
    if ds.PhotometricInterpretation == "PALETTE COLOR" or (
        colour and not dicom_pixels.reads(syntax, colour=True)
    ):
        raise RadiographError(
            "The DICOM file holds a colour image of an unsupported kind. Export it as JPEG or PNG."
        )
    if ds.BitsAllocated not in (8, 16):
        raise RadiographError(
            f"The DICOM file stores {ds.BitsAllocated} bits per pixel; only 8 and 16 are "
            "supported. Export it with 16 bits, or as JPEG or PNG."
        )
    return weight


def _complete(ds: Dataset) -> None:
    """Fill in what is missing or misspelt and has an obvious value."""
    written = _code(ds, "PhotometricInterpretation")
    plain = re.sub(r"[\W_]", "", written)
    photometric = next((name for name in _PHOTOMETRIC if re.sub(r"[\W_]", "", name) == plain), "")
    ds.SamplesPerPixel = _integer(ds, "SamplesPerPixel") or (
        3 if photometric.startswith(("RGB", "YBR")) else 1
    )
    grey = ds.SamplesPerPixel == 1
    if not photometric or grey == photometric.startswith(("RGB", "YBR")):
        photometric = "MONOCHROME2" if grey else "RGB"
    ds.PhotometricInterpretation = photometric
    if not grey and _integer(ds, "PlanarConfiguration") is None:
        ds.PlanarConfiguration = 0

    samples = ds.Rows * ds.Columns * ds.SamplesPerPixel
    native = dicom_pixels.is_native(ds.file_meta.TransferSyntaxUID)
    stored = _integer(ds, "BitsStored") or 0
    allocated = _integer(ds, "BitsAllocated")
    if allocated is None:
        allocated = 16 if stored > 8 or (native and len(ds.PixelData) >= 2 * samples) else 8
    ds.BitsAllocated = allocated
    ds.BitsStored = stored if 0 < stored <= allocated else allocated
    high = _integer(ds, "HighBit")
    valid = high is not None and ds.BitsStored - 1 <= high < allocated
    ds.HighBit = high if valid else ds.BitsStored - 1
    ds.PixelRepresentation = _integer(ds, "PixelRepresentation") or 0


def _integer(ds: Dataset, keyword: str) -> int | None:
    found = dicom_display.numbers(ds, keyword)
    return int(found[0]) if found and np.isfinite(found[0]) else None


def _square_pixels(ds: Dataset, grey: np.ndarray) -> np.ndarray:
    """The image with pixels as high as wide: the side that has too few is enlarged."""
    for keyword in ("PixelAspectRatio", "ImagerPixelSpacing", "PixelSpacing"):
        vertical, horizontal = (*dicom_display.numbers(ds, keyword), 0.0, 0.0)[:2]
        if vertical > 0 and horizontal > 0 and np.isfinite(vertical / horizontal):
            break
    else:
        return grey
    height, width = grey.shape
    if vertical > horizontal:
        height = round(height * vertical / horizontal)
    else:
        width = round(width * horizontal / vertical)
    if (height, width) == grey.shape:
        return grey
    check_size(width, height)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


def _header_warnings(ds: Dataset) -> list[str]:
    modality, body_part = _code(ds, "Modality"), _code(ds, "BodyPartExamined")
    warnings = []
    if modality and modality not in _RADIOGRAPHY:
        kind = _MODALITIES.get(modality, "another kind of examination")
        warnings.append(
            f"The file says that it is {kind}, not an X-ray. "
            "Disregard the result unless you know that it is a chest X-ray."
        )
    letters = re.sub("[^A-Z]", "", body_part)
    if not (_CHEST.search(letters) or _UNKNOWN.fullmatch(letters)):
        warnings.append(
            "The file says that it shows another body part, not the chest. "
            "Disregard the result unless you know that it is a chest X-ray."
        )
    if _code(ds, "ViewPosition") in _LATERAL_VIEWS:
        warnings.append("The file says that it is a lateral view. Use the frontal (PA or AP) view.")
    if _code(ds, "PresentationIntentType") == "FOR PROCESSING":
        warnings.append(
            "The file holds the detector's raw image (FOR PROCESSING), which looks unlike a "
            "finished radiograph. Export the image FOR PRESENTATION."
        )
    inverse = _code(ds, "PresentationLUTShape") == "INVERSE"
    if inverse and ds.PhotometricInterpretation == "MONOCHROME2":
        warnings.append(
            "The file contradicts itself on which values are dark (MONOCHROME2, presentation "
            "INVERSE); it is shown as MONOCHROME2. Check that the lungs are dark and bones bright."
        )
    return warnings


def _code(ds: Dataset, keyword: str) -> str:
    """A coded string in capitals, without accents.

    Raw, because pydicom quotes a malformed value, which may be a name, in its warnings.
    """
    element = ds.get_item(keyword)
    value = element.value if element else None
    if isinstance(element, RawDataElement) or isinstance(value, bytes):
        raw = value or b""
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
    plain = unicodedata.normalize("NFKD", str(value or "")).upper().strip(" \0")
    return "".join(letter for letter in plain if not unicodedata.combining(letter))

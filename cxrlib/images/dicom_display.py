"""Stored values of a DICOM image → grey levels, air dark (PS3.4 annex N).

The display attributes are optional, and many devices write them wrongly. Each step stands for
itself: what cannot be parsed, or would leave the image black, is left out and said.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException

from cxrlib.images.contrast import container, fills, robust_limits, sample, scale
from cxrlib.images.dicom_pixels import stored_range
from cxrlib.images.limits import DAMAGED

_LEAST_CONTRAST = 16  # grey levels; a window that leaves less is not meant for this image
_TEXT = ("DS", "IS")


class _Shades(NamedTuple):
    """Each value that can be stored as a number to display, and what is black and white."""

    values: np.ndarray
    black: float
    white: float


def numbers(ds: Dataset, keyword: str) -> list[float]:
    """The numbers of an attribute; NaN for what is none, nothing where it is missing or empty.

    Decimal commas are read as points. Text is read raw, because pydicom quotes a malformed value,
    which may be a name, in its warnings.
    """
    element = ds.get_item(keyword)
    if element is None or element.value in (None, b"", ""):
        return []
    vr = element.VR or dictionary_VR(element.tag)
    if isinstance(element, RawDataElement) and vr in _TEXT:
        return [_number(part) for part in element.value.decode("ascii", "replace").split("\\")]
    try:
        return [_number(str(value)) for value in np.ravel(ds[keyword].value)]
    except (*DAMAGED, BytesLengthException):
        return [np.nan]


def _number(text: str) -> float:
    try:
        return float(text.strip(" \0").replace(",", "."))
    except ValueError:
        return np.nan


def displayed(ds: Dataset, stored: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Modality rescale or table → VOI table or window → uint8, and what could not be done of it.

    Computed once for each value that can be stored and looked up for each pixel: faster, and a
    large image is never held as floating point.

    Args:
        ds: the header.
        stored: its stored values ``[rows, columns]``, whole numbers of 8 or 16 bits.

    Raises:
        ValueError: no pixel holds a value that counts.
    """
    pixels = stored.view(f"u{stored.itemsize}")
    every = np.arange(2 ** (8 * stored.itemsize)).astype(pixels.dtype).view(stored.dtype)
    left_out: list[str] = []
    modality = _first_that_works(
        ds,
        every.astype(np.float64),
        left_out,
        {"modality table": _modality_table, "rescale": _rescale},
    )
    values = modality.values if modality else every.astype(np.float64)
    padding = _padding(ds, every)

    def seen(shades: _Shades) -> np.ndarray:
        black, white = shades.black, shades.white
        if ds.PhotometricInterpretation == "MONOCHROME1":
            black, white = white, black
        return scale(np.where(padding, np.nan, shades.values), black, white)

    def shows_something(shades: _Shades) -> bool:
        black, white = robust_limits(seen(shades)[sample(pixels)].astype(np.float64))
        return white - black >= _LEAST_CONTRAST

    shades = _first_that_works(
        ds, values, left_out, {"VOI table": _voi_table, "window": _window}, shows_something
    )
    warnings = []
    set_by_program = False
    if shades is None:
        found = np.where(padding, np.nan, values)[sample(pixels)]
        limits = _container(ds, stored, modality)
        set_by_program = ds.BitsStored > 8 and not fills(found, limits)
        shades = _Shades(values, *(robust_limits(found) if set_by_program else limits))
        set_by_program |= any(name in left_out for name in ("VOI table", "window"))
    if left_out:
        names = " and ".join(left_out)
        warnings.append(f"The file's {names} cannot be used and was ignored.")
    if set_by_program:
        warnings.append(
            "The file does not say how to display its values, so the program set the contrast. "
            "Compare it with the original, or export the X-ray with its window."
        )
    return seen(shades)[pixels], [" ".join(warnings)] if warnings else []


def _first_that_works(
    ds: Dataset,
    values: np.ndarray,
    left_out: list[str],
    steps: dict[str, Callable[[Dataset, np.ndarray], _Shades | None]],
    accept: Callable[[_Shades], bool] = lambda shades: True,
) -> _Shades | None:
    """What the first step that is in the file and can be done makes of the values."""
    for name, step in steps.items():
        try:
            shades = step(ds, values)
            if shades is None:
                continue
            if accept(shades):
                return shades
        except (*DAMAGED, BytesLengthException):
            pass
        left_out.append(name)
    return None


def _modality_table(ds: Dataset, values: np.ndarray) -> _Shades | None:
    return _table(ds, values, "ModalityLUTSequence")


def _rescale(ds: Dataset, values: np.ndarray) -> _Shades | None:
    found = numbers(ds, "RescaleSlope"), numbers(ds, "RescaleIntercept")
    if found == ([], []):
        return None
    slope, intercept = (found[0] or [1.0])[0], (found[1] or [0.0])[0]
    with np.errstate(over="ignore", invalid="ignore"):
        rescaled = values * slope + intercept
    if slope == 0 or not np.isfinite(rescaled).all():
        raise ValueError("a rescale that gives no values")
    ends = sorted(slope * end + intercept for end in stored_range(ds))
    return _Shades(rescaled, *ends)


def _voi_table(ds: Dataset, values: np.ndarray) -> _Shades | None:
    return _table(ds, values, "VOILUTSequence")


def _table(ds: Dataset, values: np.ndarray, keyword: str) -> _Shades | None:
    """A look-up table of PS3.3 C.11.1 or C.11.2, the first of several.

    Its range comes from its entries: whole vendors say 16 bits of 12-bit entries. Those of 8 bits
    may be packed, two a word.
    """
    if not ds.get(keyword):
        return None
    item = ds[keyword].value[0]
    count, first, bits = (int(number) & 0xFFFF for number in item.LUTDescriptor)
    count = count or 2**16
    if first >= 2**15 and (ds.PixelRepresentation or values.min() < 0):
        first -= 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        words = np.frombuffer(data, "<u2" if ds.original_encoding[1] else ">u2")
    else:
        words = np.ravel(np.asarray(data)).astype(np.uint16)
    words = words.astype("<u2")
    entries = words if len(words) >= count else words.view(np.uint8)
    if len(entries) < count:
        raise ValueError("a table with fewer entries than it declares")
    entries = entries[:count]
    depth = min(max(int(entries.max()).bit_length(), 8), bits if 8 <= bits <= 16 else 16)
    index = (np.rint(values) - first).clip(0, count - 1).astype(np.int64)
    return _Shades(entries[index].astype(np.float64), 0, 2**depth - 1)


def _window(ds: Dataset, values: np.ndarray) -> _Shades | None:
    """The first window that is one (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    found = numbers(ds, "WindowCenter"), numbers(ds, "WindowWidth")
    if not any(found):
        return None
    windows = [(c, w) for c, w in zip(*found, strict=False) if np.isfinite((c, w)).all() and w > 0]
    if not windows:
        raise ValueError("no window that is one")
    center, width = windows[0]
    function = str(ds.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID":
        return _Shades(255 / (1 + np.exp(-4 * (values - center) / width)), 0, 255)
    if function == "LINEAR_EXACT" or width <= 1:
        return _Shades(values, center - width / 2, center + width / 2)
    return _Shades(values, center - width / 2, center + width / 2 - 1)


def _container(ds: Dataset, stored: np.ndarray, modality: _Shades | None) -> tuple[float, float]:
    """The range that the values to display may have, going by their bits."""
    if modality:
        return modality.black, modality.white
    lowest, highest = stored_range(ds)
    if lowest < 0 <= stored.min():  # signed, with no use made of the sign
        lowest, highest = 0, highest
    if ds.BitsStored == 16:  # which often says no more than that there are two bytes
        return container(stored)
    return lowest, highest


def _padding(ds: Dataset, every: np.ndarray) -> np.ndarray:
    """Which of the values that can be stored mean that there is no image."""
    ends = numbers(ds, "PixelPaddingValue")[:1]
    if not ends or not np.isfinite(ends[0]):
        return np.zeros(every.shape, bool)
    ends += [end for end in numbers(ds, "PixelPaddingRangeLimit")[:1] if np.isfinite(end)]
    # Whether they are signed is not always known where they are parsed.
    first, *_, last = sorted(np.array([ends[0], *ends]).astype(np.int64).astype(every.dtype))
    return (every >= first) & (every <= last)

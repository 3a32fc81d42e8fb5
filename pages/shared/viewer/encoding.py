"""What the viewer is sent: the radiograph as a JPEG, heatmaps as grey PNGs, contours as points."""

import base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from cxrlib.inference.methods import METHODS
from pages.shared.viewer import EncodedImage, Overlay

if TYPE_CHECKING:
    from cxrlib.inference.explain import Explanation
    from cxrlib.inference.lung_fields import Lungs

_LONGEST_SIDE = 2048
_JPEG_QUALITY = 95
# Enough to look smooth on a screen; a contour has hundreds of points otherwise.
_CONTOUR_GRID = 256
_CONTOUR_STEP = 3


def encode(pixels: np.ndarray) -> EncodedImage:
    """A radiograph ``uint8 [height, width]``, made smaller where it is larger than any screen."""
    scale = _LONGEST_SIDE / max(pixels.shape)
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape
    return EncodedImage(
        _url("jpeg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]), width, height
    )


def overlays_of(
    explanations: "Iterable[tuple[Explanation, str]]", lungs: "Lungs | None"
) -> list[Overlay]:
    """Overlays for heatmaps in their order, and for the outlines of the lungs where there are.

    Args:
        explanations: heatmaps, each with what is to be said of it.
        lungs: the lung fields.
    """
    overlays = [
        Overlay(
            title=METHODS[explanation.method].title,
            url=_url("png", (explanation.values * 255 + 0.5).astype(np.uint8)),
            box=explanation.box,
            about=about,
            empty="" if explanation.values.any() else "nothing speaks for pneumonia here",
        )
        for explanation, about in explanations
    ]
    if lungs is not None and lungs.found:
        overlays.append(Overlay("Lungs", about="The lung fields, found by a separate network."))
    return overlays


def outlines(lungs: "Lungs | None") -> list[list[list[float]]]:
    """The lungs' contours as points (x, y), as shares of the radiograph's sides."""
    if lungs is None or not lungs.found:
        return []
    contours = lungs.contours((_CONTOUR_GRID, _CONTOUR_GRID))
    return [
        ((contour[::_CONTOUR_STEP] + 0.5) / _CONTOUR_GRID).round(4).tolist() for contour in contours
    ]


def _url(kind: str, pixels: np.ndarray, options: Sequence[int] = ()) -> str:
    _, encoded = cv2.imencode(f".{kind}", pixels, options)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"

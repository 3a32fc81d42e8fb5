"""What the viewer is sent: the radiograph as a JPEG, heatmaps as grey PNGs, contours as points."""

import base64
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from cxrlib.images import preprocess
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.explain import Explanation
from cxrlib.inference.lung_fields import Lungs
from cxrlib.inference.methods import METHODS
from pages.shared.heat_in_lungs import share_in_words
from pages.shared.viewer import EncodedImage, Overlay

_LONGEST_SIDE = 2048
_JPEG_QUALITY = 95
_THUMBNAIL_SIDE = 160
# Enough to look smooth on a screen; a contour has hundreds of points otherwise.
_CONTOUR_GRID = 256
_CONTOUR_STEP = 3
_GRID = (256, 256)  # fine enough for shares of a heatmap


def encode(pixels: np.ndarray) -> EncodedImage:
    """A radiograph ``uint8 [height, width]``, made smaller where it is larger than any screen."""
    scale = _LONGEST_SIDE / max(pixels.shape)
    if scale < 1:
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = pixels.shape
    return EncodedImage(
        _url("jpeg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]), width, height
    )


def thumbnail(pixels: np.ndarray, side: int = _THUMBNAIL_SIDE) -> bytes:
    """A radiograph ``uint8 [height, width]`` as a small square JPEG, whole, on black."""
    return cv2.imencode(".jpg", preprocess.thumbnail(pixels, side))[1].tobytes()


def overlays_of(prediction: Prediction, explanations: Iterable[Explanation]) -> list[Overlay]:
    """What can be laid over an image that was read: heatmaps, and the outlines of its lungs."""
    overlays = [
        Overlay(
            title=METHODS[explanation.method].title,
            url=_url("png", (explanation.values * 255 + 0.5).astype(np.uint8)),
            box=explanation.box,
            about=_about(prediction, explanation),
            empty="" if explanation.values.any() else "nothing counts toward pneumonia here",
        )
        for explanation in explanations
    ]
    if prediction.lungs.found:
        overlays.append(Overlay("Lungs", about="The lung fields, outlined by a separate network."))
    return overlays


def _about(prediction: Prediction, explanation: Explanation) -> str:
    """What a heatmap shows, and how much of it lies inside the lungs."""
    method = METHODS[explanation.method]
    share = share_in_words(prediction, explanation.on(_GRID))
    return f"{share} {method.shows} {method.limits}".strip()


def outlines(lungs: Lungs) -> list[list[list[float]]]:
    """The lungs' contours as points (x, y), as shares of the radiograph's sides."""
    if not lungs.found:
        return []
    contours = lungs.contours((_CONTOUR_GRID, _CONTOUR_GRID))
    return [
        ((contour[::_CONTOUR_STEP] + 0.5) / _CONTOUR_GRID).round(4).tolist() for contour in contours
    ]


def _url(kind: str, pixels: np.ndarray, options: Sequence[int] = ()) -> str:
    _, encoded = cv2.imencode(f".{kind}", pixels, options)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"

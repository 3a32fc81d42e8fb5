"""The viewer: a radiograph with window, zoom, overlays and the rest, all of it in the browser.

Diagnose, the reading room, the gallery and the list of errors show radiographs with it. What is
sent is the radiograph as a JPEG and each heatmap as a small grey PNG, coloured in the browser.
"""

import base64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import streamlit as st

from cxrlib.images.preprocess import WHOLE, Box
from cxrlib.inference.methods import METHODS

if TYPE_CHECKING:
    from cxrlib.inference.explain import Explanation
    from cxrlib.networks.lungs import Lungs

_HERE = Path(__file__).parent
# In this order they are one module: what comes later uses what comes before.
_SCRIPTS = ("palettes.js", "image.js", "view.js", "pane.js", "controls.js", "viewer.js")
_LONGEST_SIDE = 2048
_JPEG_QUALITY = 95
# Enough to look smooth on a screen; a contour has hundreds of points otherwise.
_CONTOUR_GRID = 256
_CONTOUR_STEP = 3

_mount = st.components.v2.component(
    "cxrlib_viewer",
    html=(_HERE / "viewer.html").read_text("utf-8"),
    css=(_HERE / "viewer.css").read_text("utf-8"),
    js="\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS),
)


@dataclass(frozen=True)
class EncodedImage:
    """A radiograph as it is sent to the browser: a data URL, and its size there in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True)
class Overlay:
    """What can be laid over a radiograph.

    Attributes:
        title: its button's words.
        url: the heatmap as a grey PNG; empty for the lungs' outlines alone.
        box: left, top, right, bottom of the part that it covers, as shares of the sides.
        about: what it shows, in a sentence.
        empty: what to say where the heatmap is zero everywhere; empty where it is not.
    """

    title: str
    url: str = ""
    box: Box = WHOLE
    about: str = ""
    empty: str = ""


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


def show(
    image: EncodedImage,
    image_id: str,
    *,
    key: str = "viewer",
    title: str = "Radiograph",
    file_stem: str = "radiograph",
    overlays: Sequence[Overlay] = (),
    lungs: "Lungs | None" = None,
    chosen: str = "",
    on_step: Callable[[int], None] | None = None,
    keys: Iterable[str] = (),
    stage: str = "",
    on_keys: Callable[[Iterable[tuple[int, str, str]]], None] | None = None,
) -> None:
    """Show one radiograph.

    Args:
        image: what `encode` returned.
        image_id: how it is looked at is kept while this stays the same.
        key: of the component; one a page.
        title: what the radiograph is called for those who cannot see it.
        file_stem: name of a saved PNG, without overlay and ending.
        overlays: what `overlays_of` returned; the first is shown at once.
        lungs: the lung fields, which are outlined wherever there is an overlay.
        chosen: title of the overlay to show from now on; empty to leave that to the reader.
        on_step: told to go to the next image (1) or to the one before (-1).
        keys: those that are meant for the page.
        stage: what the page asks just now; kept with each key that is pressed.
        on_keys: told of all ``keys`` pressed at this image whenever one more is: a number that
            rises with each, the stage it was pressed in, the key.
    """
    _mount(
        key=key,
        default={"pressed": []},
        on_pressed_change=lambda: on_keys and on_keys(st.session_state[key].pressed),
        on_step_change=lambda: on_step and on_step(st.session_state[key].step),
        data={
            "image_id": image_id,
            "title": title,
            "save_as": file_stem,
            **asdict(image),
            "overlays": [asdict(overlay) for overlay in overlays],
            "contours": outlines(lungs),
            "chosen": chosen,
            "steps": on_step is not None,
            "keys": list(keys),
            "stage": stage,
            # For tests: what is on the screen.
            "ready": f"{image_id}-{stage}" if stage else image_id,
        },
    )


def _url(kind: str, pixels: np.ndarray, options: Sequence[int] = ()) -> str:
    _, encoded = cv2.imencode(f".{kind}", pixels, options)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode()}"

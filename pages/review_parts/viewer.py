"""The radiograph on a screen: full resolution, window, mirror, rotate, zoom and pan, by keys."""

import base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
import streamlit as st

from cxrlib import plots
from cxrlib.reviews.display import window_presets

if TYPE_CHECKING:
    from cxrlib.inference.lung_fields import Lungs

_HERE = Path(__file__).parent
_HTML = """\
<div class="viewer" role="group" aria-label="Radiograph">
<div class="row top"></div>
<div class="stage"><canvas role="img" aria-label="The radiograph"></canvas>
<span class="mark" data-side="R">R</span><span class="mark" data-side="L">L</span>
<span class="mark note"></span></div>
<div class="row bottom"></div>
</div>"""
COLOURS = plots.COLOUR_MAPS[0]
_OPACITY = 0.55

_show = st.components.v2.component(
    "cxrlib_radiograph",
    html=_HTML,
    css=(_HERE / "viewer.css").read_text("utf-8"),
    js=(_HERE / "viewer.js").read_text("utf-8"),
)


def show(
    pixels: np.ndarray,
    picture_id: str,
    heatmaps: Mapping[str, np.ndarray],
    lungs: "Lungs | None" = None,
    *,
    stage: str,
    keys: Iterable[str],
    hear: Callable[[Iterable[tuple[int, str, str]]], None],
) -> None:
    """A radiograph to be read.

    Args:
        pixels: ``uint8 [height, width]``; its grey values are all that is sent.
        picture_id: how it is looked at is kept while this stays the same.
        heatmaps: ``float32 [height, width]`` in 0..1, by title, laid over it at any size; the
            first one is shown at once.
        lungs: the lung fields, whose borders are drawn on the heatmaps.
        stage: what the page asks just now; kept with each key that is pressed.
        keys: those that are meant for the page.
        hear: told of all keys pressed at this picture whenever one more is: a number that
            rises with each, the stage it was pressed in, the key.
    """
    url, presets = _sent(picture_id, pixels)
    state = f"viewer-{picture_id}"
    _show(
        key=state,
        default={"pressed": []},
        on_pressed_change=lambda: hear(st.session_state[state].pressed),
        data={
            "picture_id": picture_id,
            "stage": stage,
            "keys": list(keys),
            "url": url,
            "presets": presets,
            "overlays": [
                {"title": title, "url": _overlay(picture_id, title, heatmap, lungs)}
                for title, heatmap in heatmaps.items()
            ],
        },
    )
    st.caption(
        "R and L: the patient's right and left where the picture was taken and stored as is usual; "
        "a marker in the picture counts for more. Windows are shares of this picture's greys."
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _sent(picture_id: str, _pixels: np.ndarray) -> tuple[str, dict[str, tuple[int, int]]]:
    return _png(_pixels), window_presets(_pixels)


# Every key that is pressed draws the page again.
@st.cache_data(max_entries=16, show_spinner=False)
def _overlay(picture_id: str, title: str, _heatmap: np.ndarray, _lungs: "Lungs | None") -> str:
    return _png(_coloured(_heatmap, _lungs))


def _coloured(heatmap: np.ndarray, lungs: "Lungs | None") -> np.ndarray:
    """Like `plots.overlay`, but with transparency, as ``uint8 [height, width, 4]``, BGRA."""
    colours = mpl.colormaps[COLOURS](heatmap, alpha=np.sqrt(heatmap) * _OPACITY, bytes=True)
    coloured = cv2.cvtColor(colours, cv2.COLOR_RGBA2BGRA)
    return plots.outlined(coloured, lungs.contours(heatmap.shape)) if lungs else coloured


def _png(pixels: np.ndarray) -> str:
    _, encoded = cv2.imencode(".png", pixels)
    return f"data:image/png;base64,{base64.b64encode(encoded.tobytes()).decode()}"

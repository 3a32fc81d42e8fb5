"""The viewer: a radiograph with window, zoom, overlays and the rest, all of it in the browser.

Diagnose, the reading room, the gallery and the list of errors show radiographs with it. What is
sent is the radiograph as a JPEG and each heatmap as a small grey PNG (`viewer.encoding`), coloured
in the browser.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from cxrlib.images.preprocess import Box

_HERE = Path(__file__).parent
# In this order they are one module: what comes later uses what comes before.
_SCRIPTS = ("palettes", "image", "view", "pane", "controls", "pointers", "viewer")

_mount = st.components.v2.component(
    "cxrlib_viewer",
    html=(_HERE / "viewer.html").read_text("utf-8"),
    css=(_HERE / "viewer.css").read_text("utf-8"),
    js="\n".join((_HERE / f"{name}.js").read_text("utf-8") for name in _SCRIPTS),
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
    box: "Box" = (0.0, 0.0, 1.0, 1.0)
    about: str = ""
    empty: str = ""


def show(
    image: EncodedImage,
    image_id: str,
    *,
    key: str = "viewer",
    title: str = "Radiograph",
    file_stem: str = "radiograph",
    overlays: Sequence[Overlay] = (),
    contours: Sequence[Sequence[Sequence[float]]] = (),
    chosen: str = "",
    on_step: Callable[[int], None] | None = None,
    keys: Mapping[str, str] | None = None,
    stage: str = "",
    comment: str = "",
    on_keys: Callable[[Iterable[tuple[int, str, str]]], None] | None = None,
) -> None:
    """Show one radiograph.

    Args:
        image: what `encoding.encode` returned.
        image_id: how it is looked at is kept while this stays the same.
        key: of the component; one a page.
        title: what the radiograph is called for those who cannot see it.
        file_stem: name of a saved PNG, without overlay and ending.
        overlays: what `encoding.overlays_of` returned; the first is shown at once.
        contours: what `encoding.outlines` returned; drawn wherever there is an overlay.
        chosen: title of the overlay to show from now on; empty to leave that to the reader.
        on_step: told to go to the next image (1) or to the one before (-1).
        keys: those that are meant for the page, and what each does, in words.
        stage: what the page asks just now; kept with each key that is pressed. The image is
            scrolled into sight when it changes.
        comment: key of the container with the text field that E begins to write in.
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
            # For a list, which could be a data frame, Streamlit would load pandas first.
            "overlays": tuple(asdict(overlay) for overlay in overlays),
            "contours": tuple(contours),
            "chosen": chosen,
            "steps": on_step is not None,
            "keys": tuple((keys or {}).items()),
            "stage": stage,
            "comment": comment and f".st-key-{comment} textarea",
            # For tests: what is on the screen.
            "ready": f"{image_id}-{stage}" if stage else image_id,
        },
    )

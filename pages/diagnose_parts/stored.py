"""A reading kept in a file: the first page of a fresh server shows it without any network."""

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from pages.diagnose_parts.layout import Layout
from pages.diagnose_parts.panel import Panel
from pages.shared import viewer
from pages.shared.text import file_stem
from pages.shared.viewer import EncodedImage, Overlay

FILE = Path(__file__).resolve().parents[2] / "assets" / "example.json"
COMMAND = "python -m pages.diagnose_parts.store_example"
DRAWN = "Drawn by a program, not taken of a patient."


@dataclass(frozen=True)
class StoredReading:
    """What `store_example` wrote.

    Attributes:
        title: of the example.
        run: name of the run that read it.
        prevalence: that its lines on trust are for, in percent.
        image: as the viewer shows it.
        overlays: its heatmaps and its lungs.
        contours: of its lungs.
        panels: by operating point.
        thumbnails: of all examples that are drawn, by title.
    """

    title: str
    run: str
    prevalence: int
    image: EncodedImage
    overlays: list[Overlay]
    contours: list[list[list[float]]]
    panels: dict[str, Panel]
    thumbnails: dict[str, bytes]


@cache
def reading() -> StoredReading:
    """The stored reading."""
    kept: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return StoredReading(
        **kept
        | {
            "image": EncodedImage(**kept["image"]),
            "overlays": [Overlay(**overlay) for overlay in kept["overlays"]],
            "panels": {point: Panel(**panel) for point, panel in kept["panels"].items()},
            "thumbnails": {
                title: base64.b64decode(jpeg) for title, jpeg in kept["thumbnails"].items()
            },
        }
    )


def serves() -> bool:
    """Whether what is stored is what the page would say of its example now."""
    found = reading()
    return (
        st.session_state.get("run") == found.run
        and st.session_state.get("prevalence", found.prevalence) == found.prevalence
    )


def show(layout: Layout) -> None:
    """Show the stored reading, with a way to read the example again and in full."""
    found = reading()
    panel = found.panels[st.session_state.point]
    with layout.headline:
        panel.show_headline(found.title)
    with layout.image:
        viewer.show(
            found.image,
            f"example {found.title}",
            title=f"Radiograph {found.title}",
            file_stem=file_stem(found.title),
            overlays=found.overlays,
            contours=found.contours,
        )
    with layout.details:
        st.caption(f":material/draw: {DRAWN}")
        panel.show_trust()
        st.button(
            "Other heatmaps, report",
            icon=":material/more_horiz:",
            on_click=st.query_params.update,
            kwargs={"example": found.title},
        )

"""A radiograph and its heatmaps on the Diagnose page, and how they are shown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from cxrlib import plots
from cxrlib.images import radiograph
from cxrlib.images.preprocess import equalize
from cxrlib.inference.methods import METHODS
from pages.diagnose_parts.cases import Case, explained
from pages.shared.heat_in_lungs import show_share

if TYPE_CHECKING:
    from cxrlib.inference.classifier import Classifier, Prediction
    from cxrlib.inference.lung_fields import Lungs

VIEWS = {"none": "As taken", "clahe": "Local contrast (CLAHE)", "histogram": "Equalized histogram"}


@dataclass(frozen=True)
class Display:
    """How pictures are shown; the network does not see it."""

    low: int
    high: int
    inverted: bool
    opacity: float
    colours: str
    lungs: bool

    def apply(self, pixels: np.ndarray, view: str) -> np.ndarray:
        pixels = equalize(pixels, view)
        if (self.low, self.high, self.inverted) == (0, 255, False):
            return pixels
        return radiograph.window(
            pixels,
            center=(self.low + self.high) / 2,
            width=max(self.high - self.low, 1),
            invert=self.inverted,
        )

    def words(self, view: str) -> str:
        """What was done to the pictures for the eye; empty where they are as taken."""
        done = [] if view == "none" else [VIEWS[view]]
        if (self.low, self.high) != (0, 255):
            done.append(f"grey levels {self.low} to {self.high} only")
        if self.inverted:
            done.append("inverted")
        return f"Pictures not shown as taken: {', '.join(done)}." if done else ""

    def overlay(self, pixels: np.ndarray, heatmap: np.ndarray, lungs: "Lungs") -> np.ndarray:
        shown = plots.overlay(pixels, heatmap, colours=self.colours, opacity=self.opacity)
        return plots.outlined(shown, lungs.contours(pixels.shape)) if self.lungs else shown


def display_controls() -> Display:
    window, switches, cover, palette = st.columns([5, 3, 4, 7], vertical_alignment="bottom")
    low, high = window.slider(
        "Window (grey levels shown)",
        0,
        255,
        (0, 255),
        key="window",
        help="What lies below the left end is black, above the right end white. The level is the "
        "middle, the width the distance.",
    )
    inverted = switches.toggle("Invert", key="invert")
    lungs = switches.toggle(
        "Lungs",
        value=True,
        key="lungs",
        help="Lung fields as a network of their own finds them, drawn over the heatmaps.",
    )
    opacity = cover.slider("Heatmap opacity", 0, 100, 60, format="%d %%", key="opacity")
    colours = palette.segmented_control(
        "Colours",
        plots.COLOUR_MAPS,
        default=plots.COLOUR_MAPS[0],
        required=True,
        key="colours",
        help="All rise evenly in brightness; cividis looks the same to people with red-green "
        "colour blindness.",
    )
    return Display(low, high, inverted, opacity / 100, colours, lungs)


def show_pictures(
    case: Case, reader: "Classifier", prediction: "Prediction", display: Display
) -> tuple[str, list[str]]:
    """The radiograph and two heatmaps beside it; returns the view and methods that were chosen."""
    plain, *overlays = st.columns(3)
    with plain:
        view = st.selectbox(
            "Radiograph",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            key="view",
            help="For your eyes only: the network always reads the picture as taken.",
        )
        shown = display.apply(plots.for_overlay(case.picture.pixels), view)
        st.image(plots.jpeg(shown), width="stretch", alt="The radiograph")
        height, width = case.picture.pixels.shape
        st.caption(
            f"{case.picture.format}, {width} × {height} pixels. The picture's left is the "
            "patient's right where it was taken and stored as is usual; a marker in it counts for "
            "more."
        )
    first = next(method for method in reader.methods if method != "saliency")
    methods = []
    for column, default in zip(overlays, (first, "saliency"), strict=True):
        with column:
            method = st.selectbox(
                "Heatmap",
                reader.methods,
                index=reader.methods.index(default),
                format_func=lambda method: METHODS[method].title,
                key=f"method_{default}",
                bind="query-params",
                help="Methods other than Grad-CAM and saliency are computed when chosen and take "
                "up to a few seconds.",
            )
            heatmap = explained(case, reader, method).on(shown.shape)
            st.image(
                plots.jpeg(display.overlay(shown, heatmap, prediction.lungs)),
                width="stretch",
                alt=f"The radiograph with {METHODS[method].title} over it",
            )
            st.html(plots.heat_legend(display.colours))
            if not heatmap.any():
                st.caption("Nothing in this picture speaks for pneumonia by this method.")
            elif prediction.lungs.found:
                show_share(prediction, heatmap)
            st.caption(f"{METHODS[method].shows} {METHODS[method].limits}")
            methods.append(method)
    return view, methods

"""One image under each augmentation preset and contrast treatment."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from cxrlib import plots
from cxrlib.images import preprocess
from cxrlib.images.style import style_of
from cxrlib.synthetic import phantom
from cxrlib.training.augment import PRESETS, augment, describe
from pages.dataset_parts.gallery_tab import read
from pages.shared.text import plain

VARIANTS = 6
_DRAWN = 512  # pixels, the side of a drawn radiograph
TREATMENTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "As taken": (
        "What the network sees, unless its run says otherwise.",
        lambda image: image,
    ),
    "Histogram equalization": (
        "All grey levels equally frequent: high contrast, in noise too.",
        lambda image: preprocess.equalize(image, "histogram"),
    ),
    "CLAHE": (
        "The same, region by region and limited: lung markings stand out.",
        lambda image: preprocess.equalize(image, "clahe"),
    ),
    "Edges (Canny)": (
        "Lines where grey levels change abruptly: ribs and borders, not the opacity.",
        lambda image: preprocess.edges(image, "canny"),
    ),
    "Edges (Sobel)": (
        "How fast grey levels change: soft opacities leave hardly a trace.",
        lambda image: preprocess.edges(image, "sobel"),
    ),
}


def other_image(images: int) -> None:
    st.session_state.data_sample = float(np.random.default_rng().integers(images)) + 1


INTRODUCTION = (
    "In training, every image is changed a little at random each time it is seen, so that the "
    "network cannot rely on what does not matter: how the child was positioned, how the film was "
    "exposed, what shape the image has."
)


def show(table: pd.DataFrame) -> None:
    """On an image of the data set."""
    st.markdown(INTRODUCTION)
    image_number, another, draw, size, _ = st.columns([2, 2, 2, 2, 2], vertical_alignment="bottom")
    # Whole numbers, asked for as others: an address that says 1e400 fails a field of whole ones.
    whole: dict[str, Any] = {
        "step": 1.0,
        "format": "%.0f",
        "bind": "query-params",
        "persist_state": "session",
    }
    place = image_number.number_input("Image", 1.0, float(len(table)), key="data_sample", **whole)
    another.button(
        "Another image", icon=":material/shuffle:", width="stretch",
        on_click=other_image, args=(len(table),),
    )  # fmt: skip
    seed = draw.number_input(
        "Random seed", 1.0, 9999.0, key="data_draw", **whole,
        help="Another number gives other random changes; the same number gives the same images.",
    )  # fmt: skip
    side = size.selectbox(
        "Network input", [150, 224, 320], index=1, format_func=lambda side: f"{side} × {side}",
        key="data_side", bind="query-params", persist_state="session",
    )  # fmt: skip
    row = table.iloc[int(place) - 1]
    st.caption(f"{plain(row.path)}, squashed to a square as the network sees it")
    radiograph = read(table, row.path)
    if radiograph is None:
        return
    others = table.path[table.label != row.label]
    other = read(table, others.iloc[int(seed) % len(others)]) if len(others) else None
    _show_variants(radiograph.pixels, other.pixels if other else None, int(seed), int(side))


def show_drawn() -> None:
    """On a drawn radiograph, where no data set is at hand."""
    st.markdown(INTRODUCTION)
    draw, _ = st.columns([2, 8])
    seed = draw.number_input(
        "Random seed", 1.0, 9999.0, step=1.0, format="%.0f", key="data_draw", bind="query-params",
        persist_state="session",
        help="Another number gives another radiograph and other random changes.",
    )  # fmt: skip
    st.caption(":material/draw: Drawn by a program, not taken of a patient.")
    drawn, other = (
        phantom.phantom(int(seed), pneumonia=pneumonia, size=_DRAWN).pixels
        for pneumonia in (True, False)
    )
    _show_variants(drawn, other, int(seed), 224)


def _show_variants(pixels: np.ndarray, other: np.ndarray | None, seed: int, side: int) -> None:
    """A radiograph ``uint8 [height, width]`` under each preset and treatment; some presets mix in
    the style of another one."""
    square = preprocess.prepare(pixels, side)
    style = None if other is None else style_of(preprocess.prepare(other, side))
    for name, recipe in PRESETS.items():
        st.markdown(f"**Preset {name}:** {describe(recipe)}.")
        rng = np.random.default_rng(seed)
        with st.grid(VARIANTS, min_column_width=100):
            for variant in range(1 if name == "none" else VARIANTS):
                st.image(
                    augment(square, recipe, rng, style=style),
                    width="stretch",
                    output_format="JPEG",
                    alt=f"Variant {variant + 1} under the preset {name}",
                )
    st.header("Contrast treatments", anchor=False)
    st.caption(
        "A run can use histogram equalization or CLAHE; every image is then treated in the same "
        "way, in training and when it is read. Edges are shown for illustration only."
    )
    shown = plots.for_screen(pixels)
    with st.grid(5, min_column_width=150):
        for title, (words, treat) in TREATMENTS.items():
            with st.container(gap="xsmall"):
                st.image(
                    treat(shown),
                    width="stretch",
                    output_format="JPEG",
                    alt=title,
                )
                st.markdown(f"**{title}**")
                st.caption(words)

"""Every image: filters, pages of thumbnails, and one of them large."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cxrlib import runs
from cxrlib.data import gallery, shortcuts
from cxrlib.formatting import percent
from cxrlib.images import radiograph
from cxrlib.labels import CLASSES
from pages.shared import image_dialog, thumbnails, viewer
from pages.shared.text import file_stem, number, plain
from pages.shared.thumbnails import Thumbnail
from pages.shared.viewer import encoding

ALL = "All"
PER_PAGE = 24  # full rows, whether two, three, four, six or eight fit into one
THUMBNAIL = 240


def first_page() -> None:
    st.session_state.data_page = 1


def choose(label: str, options: list[str], key: str) -> str:
    return st.selectbox(
        label, options, key=key, bind="query-params", persist_state="session", on_change=first_page
    )


def selection(table: pd.DataFrame, values: pd.DataFrame) -> gallery.Selection:
    """What the filters say."""
    labels = {title: label for label, title in CLASSES.items()}
    orders = [title for title, (by, _) in gallery.ORDERS.items() if by in table or by in values]
    with st.grid(6, min_column_width=120):
        split = choose("Folder", [ALL, *table.split.unique()], "data_split")
        label = choose("Class", [ALL, *labels], "data_class")
        subtype = choose("Subtype", [ALL, "bacterial", "viral"], "data_subtype")
        size = choose("Size", [ALL, *gallery.SIZES], "data_size")
        order = choose("Order", orders, "data_order")
        name = st.text_input(
            "Name contains",
            key="data_name",
            bind="query-params",
            persist_state="session",
            on_change=first_page,
            placeholder="person12",
        )
    copies = st.toggle(
        "Only duplicates",
        key="data_copies",
        bind="query-params",
        persist_state="session",
        on_change=first_page,
    )
    split, subtype, size = ("" if value == ALL else value for value in (split, subtype, size))
    return gallery.Selection(split, labels.get(label, ""), subtype, size, name, copies, order)


@st.cache_data(max_entries=5000, show_spinner=False)
def thumbnail(file: str, modified: int) -> bytes | None:
    """An image as a small square JPEG, whole, on black; None where it cannot be read."""
    try:
        image = radiograph.read_file(Path(file)).pixels
    except radiograph.RadiographError:
        return None
    return encoding.thumbnail(image, THUMBNAIL)


def read(table: pd.DataFrame, path: str) -> radiograph.Radiograph | None:
    """One image of the data set; where it cannot be read, the page says why."""
    try:
        return radiograph.read_file(Path(table.attrs["root"]) / path)
    except radiograph.RadiographError as error:
        st.error(plain(error), icon=":material/broken_image:")
        return None


def open_image(path: str) -> None:
    st.query_params["data_image"] = path


def close_image() -> None:
    st.query_params.pop("data_image", None)


def show(table: pd.DataFrame, exposures: pd.DataFrame | None) -> list[str]:
    """The gallery; returns the paths that the filters let through, in order."""
    values = shortcuts.measures(table, exposures)
    rows = gallery.select(table, values, selection(table, values))
    if rows.empty:
        st.info("No image matches. Remove a filter.", icon=":material/filter_alt_off:")
        return []
    pages = -(-len(rows) // PER_PAGE)
    text, turn = st.columns([1, 2], vertical_alignment="center")
    with turn:
        page = st.pagination(
            pages, key="data_page", bind="query-params", persist_state="session", width="stretch"
        )
    first = (page - 1) * PER_PAGE
    shown = rows.iloc[first : first + PER_PAGE]
    text.caption(
        f"{number(len(rows))} images, {number(first + 1)} to {number(first + len(shown))} shown. "
        "Select one to enlarge it."
    )
    scores = _scores()
    thumbnails.show(
        [_thumbnail(row, Path(table.attrs["root"]), scores) for row in shown.itertuples()],
        open_image,
        key="gallery",
        label="Images",
        layout="grid",
    )
    if any(path in scores for path in shown.path):
        st.caption(
            f"Percent: probability of pneumonia by the run {plain(st.session_state.run)}, for "
            "images that it was not trained on."
        )
    return rows.path.tolist()


def _scores() -> dict[str, float]:
    """What the run in use gave to the images it was evaluated on, by path."""
    try:
        found = runs.find(st.session_state.get("run", "")).predictions
    except runs.RunError:
        return {}  # the pages that need the run say what is wrong with it
    return dict(zip(found.path, found.probability, strict=True))


def _thumbnail(row: Any, root: Path, scores: dict[str, float]) -> Thumbnail:
    file = root / row.path
    score = percent(scores[row.path]) if row.path in scores else ""
    told = f", probability {score}" if score else ""
    return Thumbnail(
        row.path,
        f"{file.stem}: {gallery.kind(row)}, {row.split}, {row.width} × {row.height}{told}",
        thumbnail(str(file), file.stat().st_mtime_ns),
        instead="Cannot be read",
        caption=file.stem,
        badge=row.subtype or CLASSES[row.label].lower(),
        mark=score,
    )


def show_radiograph(table: pd.DataFrame, path: str, neighbours: list[str]) -> None:
    """One image large, in a dialog, with what is known of it."""
    known = table[table.path == path]
    if known.empty:
        st.warning(f"The data set has no image {plain(path)}.")
        return
    row = known.iloc[0]

    image = read(table, path)
    if image is None:
        return

    def show_image(step: Callable[[int], None]) -> None:
        viewer.show(
            encoding.encode(image.pixels),
            path,
            title=f"Radiograph {path}",
            file_stem=file_stem(path),
            on_step=step,
        )

    def show_facts() -> None:
        st.markdown(f"Reference label: **{gallery.kind(row).lower()}**")
        for warning in image.warnings:
            st.warning(warning)
        if st.button(
            "Diagnose this one", type="primary", icon=":material/radiology:", width="stretch"
        ):
            st.switch_page("pages/diagnose.py", query_params={"example": path})
        if st.button(
            "Augment this one",
            icon=":material/auto_fix_high:",
            width="stretch",
            on_click=preview_image,
            args=(int(known.index[0]) + 1,),
        ):
            st.rerun()
        st.table(
            {name: plain(fact) for name, fact in gallery.facts(table, row, image.pixels).items()},
            border="horizontal",
            hide_header=True,
        )

    image_dialog.show(
        plain(Path(path).name),
        parameter="data_image",
        shown=path,
        neighbours=neighbours,
        image=show_image,
        facts=show_facts,
    )


def preview_image(place: int) -> None:
    close_image()
    st.session_state.data_sample = float(place)
    st.session_state.data_tab = "Augmentation"

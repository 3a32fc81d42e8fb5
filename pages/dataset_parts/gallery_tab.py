"""Every image: filters, pages of thumbnails, and one of them large."""

from pathlib import Path

import cv2
import pandas as pd
import streamlit as st

from cxrlib import plots
from cxrlib.data import overview
from cxrlib.images import preprocess, radiograph
from pages.shared.text import number, plain

ALL = "All"
PER_PAGE = 24  # full rows, whether two, three, four, six or eight fit into one
THUMBNAIL = 240


def first_page() -> None:
    st.session_state.data_page = 1


def choose(label: str, options: list[str], key: str) -> str:
    return st.selectbox(
        label, options, key=key, bind="query-params", persist_state="session", on_change=first_page
    )


def selection(table: pd.DataFrame, values: pd.DataFrame) -> overview.Selection:
    """What the filters say."""
    labels = {title: label for label, title in overview.CLASSES.items()}
    orders = [title for title, (by, _) in overview.ORDERS.items() if by == "path" or by in values]
    with st.grid(6, min_column_width=120):
        split = choose("Folder", [ALL, *table.split.unique()], "data_split")
        label = choose("Class", [ALL, *labels], "data_class")
        subtype = choose("Subtype", [ALL, "bacterial", "viral"], "data_subtype")
        size = choose("Size", [ALL, *overview.SIZES], "data_size")
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
        "Only images that are there more than once",
        key="data_copies",
        bind="query-params",
        persist_state="session",
        on_change=first_page,
    )
    split, subtype, size = ("" if value == ALL else value for value in (split, subtype, size))
    return overview.Selection(split, labels.get(label, ""), subtype, size, name, copies, order)


@st.cache_data(max_entries=5000, show_spinner=False)
def thumbnail(file: str, modified: int) -> bytes | None:
    """An image as a small square JPEG, whole, on black; None where it cannot be read."""
    try:
        picture = radiograph.read_file(Path(file)).pixels
    except radiograph.RadiographError:
        return None
    return cv2.imencode(".jpg", preprocess.thumbnail(picture, THUMBNAIL))[1].tobytes()


def read(table: pd.DataFrame, path: str) -> radiograph.Radiograph | None:
    """One image of the data set; where it cannot be read, the page says why."""
    try:
        return radiograph.read_file(Path(table.attrs["root"]) / path)
    except radiograph.RadiographError as error:
        st.error(plain(error), icon=":material/broken_image:")
        return None


def open_picture(path: str) -> None:
    st.query_params["data_picture"] = path


def close_picture() -> None:
    st.query_params.pop("data_picture", None)


def show(table: pd.DataFrame, exposures: pd.DataFrame | None) -> list[str]:
    """The gallery; returns the paths that the filters let through, in order."""
    values = overview.measures(table, exposures)
    rows = overview.select(table, values, selection(table, values))
    if rows.empty:
        st.info("No image is like that. Take a filter off.", icon=":material/filter_alt_off:")
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
        "Press a name to see it large."
    )
    root = Path(table.attrs["root"])
    with st.grid(8, min_column_width=155):
        for row in shown.itertuples():
            with st.container(gap="xxsmall"):
                file = root / row.path
                picture = thumbnail(str(file), file.stat().st_mtime_ns)
                kind = overview.kind(row)
                if picture:
                    st.image(picture, width="stretch", alt=f"{kind}, {file.name}")
                else:
                    st.warning("Cannot be read")
                st.button(
                    plain(file.stem),
                    key=f"open {row.path}",
                    type="tertiary",
                    width="stretch",
                    help=f"{kind}, {row.split}, {row.width} × {row.height}",
                    on_click=open_picture,
                    args=(row.path,),
                )
    return rows.path.tolist()


def show_picture(table: pd.DataFrame, path: str, neighbours: list[str]) -> None:
    """One image large, in a dialog, with what is known of it."""
    known = table[table.path == path]
    if known.empty:
        st.warning(f"The data set has no image {plain(path)}.")
        return
    row = known.iloc[0]

    @st.dialog(plain(Path(path).name), width="large", on_dismiss=close_picture)
    def dialog() -> None:
        picture = read(table, path)
        if picture is None:
            return
        large, facts = st.columns([2, 1], gap="medium")
        large.image(plots.for_screen(picture.pixels), width="stretch", alt=f"The radiograph {path}")
        with facts:
            for warning in picture.warnings:
                st.warning(warning)
            facts_known = overview.facts(table, row, picture.pixels)
            st.table(
                {name: plain(fact) for name, fact in facts_known.items()},
                border="horizontal",
                hide_header=True,
            )
            if st.button(
                "Diagnose this one", type="primary", icon=":material/radiology:", width="stretch"
            ):
                st.switch_page("pages/diagnose.py", query_params={"example": path})
            if st.button(
                "Augment this one",
                icon=":material/auto_fix_high:",
                width="stretch",
                on_click=preview_picture,
                args=(int(known.index[0]) + 1,),
            ):
                st.rerun()
            back, on = st.columns(2, wrap=False)
            place = neighbours.index(path) if path in neighbours else None
            for column, step, words, icon in (
                (back, -1, "Previous", ":material/arrow_back:"),
                (on, 1, "Next", ":material/arrow_forward:"),
            ):
                there = place is not None and 0 <= place + step < len(neighbours)
                if column.button(words, icon=icon, width="stretch", disabled=not there):
                    open_picture(neighbours[place + step])
                    st.rerun()

    dialog()


def preview_picture(place: int) -> None:
    close_picture()
    st.session_state.data_sample = float(place)
    st.session_state.data_tab = "Augmentation"

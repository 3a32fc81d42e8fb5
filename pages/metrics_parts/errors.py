"""The tab of errors: images that are called wrongly, the most confidently wrong first."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from cxrlib import formatting, runs
from cxrlib.data import dataset
from cxrlib.evaluation.run_on_split import FALSE_NEGATIVE, FALSE_POSITIVE, Measured
from cxrlib.images import radiograph
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.explain import Explanation
from pages.shared import image_dialog, thumbnails, viewer
from pages.shared.downloadable import image_folder, show_table
from pages.shared.loaded_models import classifier_of, modified
from pages.shared.text import file_stem, plain
from pages.shared.thumbnails import Thumbnail
from pages.shared.viewer import encoding

_PER_PAGE = 24
_THUMBNAIL = 240


def show_errors(measured: Measured, point: str) -> None:
    """Images and table of the false negatives and false positives."""
    threshold = measured.points[point].threshold
    errors = measured.errors(threshold)
    controls = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    kind = controls.segmented_control(
        "Errors",
        [FALSE_NEGATIVE, FALSE_POSITIVE],
        default=FALSE_NEGATIVE,
        required=True,
        format_func=lambda kind: f"{kind.capitalize()}s",
        key="errors",
        bind="query-params",
        persist_state="session",
        label_visibility="collapsed",
        on_change=_first_page,
    )
    chosen = errors[errors.kind == kind].drop(columns="kind").reset_index(drop=True)
    at_risk = int(measured.truth.sum() if kind == FALSE_NEGATIVE else (~measured.truth).sum())
    controls.caption(
        f"{len(chosen)} of {at_risk} "
        f"{'pneumonias' if kind == FALSE_NEGATIVE else 'normal images'}, most confident errors "
        "first."
    )
    if chosen.empty:
        return
    folder = images_of(measured)
    shown = folder is not None and _show_gallery(measured, chosen, folder, threshold)
    with st.expander("As a table", expanded=not shown):
        show_table(
            chosen,
            f"{measured.run.name}-{measured.split}-{kind.replace(' ', '-')}",
            "Errors, most confident first",
            columns={
                "path": "File",
                "label": "Reference label",
                "subtype": "Subtype",
                "patient": "Patient",
                "probability": "Probability",
            },
            formats={"probability": formatting.percent},
        )


def images_of(measured: Measured) -> Path | None:
    """The folder of the images that a run was measured on; None where it is not the one in use.

    Images of another set may have the same names.
    """
    folder = image_folder()
    if folder and measured.data and dataset.fingerprint(folder) != measured.data:
        st.caption(
            f"{plain(measured.split)} was measured on a different folder: open that folder under "
            "*Data set* to see the images here."
        )
        return None
    return folder


def _show_gallery(measured: Measured, errors: pd.DataFrame, folder: Path, threshold: float) -> bool:
    """The images, a page at a time; returns whether any was there to be shown."""
    files = {row.path: file for row in errors.itertuples() if (file := _file(folder, row.path))}
    if len(files) < len(errors):
        st.caption(
            f"{len(errors) - len(files)} of these {len(errors)} images are not in the data-set "
            "folder."
        )
    if not files:
        return False
    rows = errors[errors.path.isin(files)]
    pages = math.ceil(len(rows) / _PER_PAGE)
    number = (
        st.pagination(pages, key="error_page", bind="query-params", persist_state="session")
        if pages > 1
        else 1
    )
    first = (number - 1) * _PER_PAGE
    thumbnails.show(
        [
            _thumbnail(row, files[row.path])
            for row in rows.iloc[first : first + _PER_PAGE].itertuples()
        ],
        _open,
        key="error_gallery",
        label="Errors",
        layout="grid",
    )
    st.caption("Left: reference label. Right: probability of pneumonia. Select one to open it.")
    asked = st.query_params.get("error")
    if asked and asked in files:
        (row,) = rows[rows.path == asked].itertuples()
        image_dialog.show(
            plain(Path(asked).name),
            parameter="error",
            shown=asked,
            neighbours=rows.path.tolist(),
            image=lambda step: _show_image(measured.run, row.path, files[row.path], step),
            facts=lambda: _show_facts(row, threshold),
        )
    return True


def _first_page() -> None:
    st.session_state.error_page = 1
    st.query_params.pop("error", None)


def _open(path: str) -> None:
    st.query_params.error = path


def _file(folder: Path, path: str) -> Path | None:
    try:
        return dataset.picture_file(folder, path)
    except dataset.DatasetError:
        return None


def _thumbnail(row: Any, file: Path) -> Thumbnail:
    kind = row.subtype or row.label.lower()
    probability = formatting.percent(row.probability)
    return Thumbnail(
        row.path,
        f"{file.stem}: {kind}, probability {probability}",
        _small(str(file), file.stat().st_mtime_ns),
        instead="Cannot be read",
        caption=file.stem,
        badge=kind,
        mark=probability,
    )


@st.cache_data(max_entries=2000, show_spinner=False)
def _small(file: str, modified: int) -> bytes | None:
    try:
        return encoding.thumbnail(radiograph.read_file(Path(file)).pixels, _THUMBNAIL)
    except RadiographError:
        return None  # why, is said where it is opened


def _show_image(run: runs.Run, path: str, file: Path, step: Callable[[int], None]) -> None:
    overlays, contours = [], []
    try:
        pixels = radiograph.read_file(file).pixels
        prediction, explanations = _explained(run, str(run.folder), modified(run), str(file))
    except RadiographError as error:
        st.error(plain(error), icon=":material/broken_image:")
        return
    except runs.RunError as error:
        st.warning(plain(error))
    else:
        overlays = encoding.overlays_of(prediction, explanations)
        contours = encoding.outlines(prediction.lungs)
    viewer.show(
        encoding.encode(pixels),
        path,
        title=f"Radiograph {path}",
        file_stem=file_stem(path),
        overlays=overlays,
        contours=contours,
        on_step=step,
    )


@st.cache_data(max_entries=16, show_spinner="Reading the image")
def _explained(
    _run: runs.Run, folder: str, written: tuple[float, ...], file: str
) -> tuple[Prediction, list[Explanation]]:
    prediction, found = classifier_of(_run).read(radiograph.read_file(Path(file)).pixels)
    return prediction, list(found.values())


def _show_facts(row: Any, threshold: float) -> None:
    subtype = f" ({row.subtype})" if row.subtype else ""
    st.markdown(f"Reference label: **{row.label.lower()}**{subtype}")
    side = "at or above" if row.probability >= threshold else "below"
    st.markdown(
        f"Model: **{formatting.percent(row.probability)}**, {side} the threshold of "
        f"{formatting.rate(threshold)}: **wrong**"
    )
    if st.button("Diagnose this one", type="primary", icon=":material/radiology:", width="stretch"):
        st.switch_page("pages/diagnose.py", query_params={"example": row.path})

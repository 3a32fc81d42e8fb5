"""The tab of errors: images that are called wrongly, the most confidently wrong first."""

import math
from pathlib import Path

import pandas as pd
import streamlit as st

from cxrlib import plots, runs
from cxrlib.data import dataset
from cxrlib.evaluation.run_on_split import FALSE_NEGATIVE, FALSE_POSITIVE, Measured
from cxrlib.images import radiograph
from cxrlib.inference.classifier import Classifier
from cxrlib.inference.ensemble import EnsembleClassifier
from pages.shared.downloadable import picture_folder, show_table
from pages.shared.loaded_models import classifier_of
from pages.shared.text import plain

_ON_A_PAGE = 8


def show_errors(measured: Measured, point: str) -> None:
    """Table and gallery of the false negatives and false positives."""
    errors = measured.errors(measured.points[point].threshold)
    controls = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    kind = controls.segmented_control(
        "Errors",
        [FALSE_NEGATIVE, FALSE_POSITIVE],
        default=FALSE_NEGATIVE,
        required=True,
        format_func=str.capitalize,
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
        f"{'pneumonias' if kind == FALSE_NEGATIVE else 'normal images'}, the most confidently "
        "wrong first."
    )
    if chosen.empty:
        return
    folder = images_of(measured)
    shown = folder is not None and _show_gallery(measured, chosen, folder)
    with st.expander("As a table", expanded=not shown):
        show_table(
            chosen,
            f"{measured.run.name}-{measured.split}-{kind.replace(' ', '-')}",
            "Errors, the most confidently wrong first",
        )


def images_of(measured: Measured) -> Path | None:
    """The folder of the images that a run was measured on; None where it is not the one in use.

    Images of another set may have the same names.
    """
    folder = picture_folder()
    if folder and measured.data and dataset.fingerprint(folder) != measured.data:
        st.caption(
            f"{plain(measured.split)} was measured on another folder than the one in use: open "
            "that one under Data set to see the images here."
        )
        return None
    return folder


def _show_gallery(measured: Measured, errors: pd.DataFrame, folder: Path) -> bool:
    """The images, a page at a time; returns whether any was there to be shown."""
    switch = st.container()
    pages = math.ceil(len(errors) / _ON_A_PAGE)
    number = (
        st.pagination(pages, key="error_page", bind="query-params", persist_state="session")
        if pages > 1
        else 1
    )
    rows = errors.iloc[(number - 1) * _ON_A_PAGE : number * _ON_A_PAGE]
    found = [(row, file) for row in rows.itertuples() if (file := _file(folder, row.path))]
    if len(found) < len(rows):
        st.caption(
            f"{len(rows) - len(found)} of these {len(rows)} images are not in the data-set folder."
        )
    if not found:
        return False
    explain = switch.toggle(
        "Show heatmaps",
        key="heatmaps",
        bind="query-params",
        persist_state="session",
    )
    classifier = _classifier(measured) if explain else None
    with st.grid(4, min_column_width=155):
        for row, file in found:
            with st.container(gap="xsmall"):
                _show_picture(row, file, classifier)
    return True


def _first_page() -> None:
    st.session_state.error_page = 1


def _file(folder: Path, path: str) -> Path | None:
    try:
        return dataset.picture_file(folder, path)
    except dataset.DatasetError:
        return None


def _show_picture(
    row: tuple, file: Path, classifier: Classifier | EnsembleClassifier | None
) -> None:
    try:
        pixels = radiograph.read_file(file).pixels
    except radiograph.RadiographError as error:
        st.text(str(error))
        return
    shown = plots.for_screen(pixels)
    if classifier is not None:
        heatmap = classifier.explain(pixels, classifier.methods[0]).on(shown.shape)
        shown = plots.overlay(shown, heatmap)
    kind = row.subtype or row.label.lower()
    st.image(
        shown,
        width="stretch",
        output_format="JPEG",
        alt=f"{kind}, probability {plots.percent(row.probability)}",
    )
    # A run's files may come from elsewhere: as text, never as Markdown.
    st.text(f"{plots.percent(row.probability)} · {kind}")
    st.page_link(
        "pages/diagnose.py",
        label="Diagnose this one",
        icon=":material/radiology:",
        query_params={"example": row.path, "run": st.session_state.run},
    )


def _classifier(measured: Measured) -> Classifier | EnsembleClassifier | None:
    run = measured.run
    try:
        return classifier_of(run)
    except runs.RunError as error:
        st.warning(str(error))
        return None

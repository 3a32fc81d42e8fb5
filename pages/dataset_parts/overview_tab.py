"""Counts, imbalance, splits, and what the sides of a split share."""

import pandas as pd
import streamlit as st

from cxrlib import runs
from cxrlib.data import dataset, overview
from cxrlib.data.folds import assign_folds
from cxrlib.formatting import setting
from cxrlib.runs import ensembles
from cxrlib.runs.config import TrainingConfig, seed_of_split
from pages.dataset_parts.gallery_tab import ALL
from pages.shared.data_folder import show_problem
from pages.shared.text import number, plain

SIDES = {
    "train": "Train",
    "validation": "Validation",
    "val": "Val",
    "test": "Test",
    "excluded": "Left out",
}


def split_in_use(table: pd.DataFrame) -> tuple[pd.Series, str]:
    """Which side each image is on in the run in use, and where that comes from."""
    share, seed = (
        TrainingConfig.model_fields[name].default for name in ("validation_fraction", "seed")
    )
    name, recorded = st.session_state.get("run"), None
    if name:
        try:
            run = runs.find(name)
            first = ensembles.networks(run)[0].config
            share, seed = first["validation_fraction"], seed_of_split(first)
            recorded = run.predictions.query("split == 'validation'").path
        except runs.RunError as error:
            st.warning(plain(error))
    folds = assign_folds(table, validation_fraction=share, seed=seed)
    who = "a new run" if recorded is None else f"the run {plain(name)}"
    source = f"split as by {who}: {setting(share)} for validation, seed {seed}."
    if recorded is not None and set(recorded) != set(table.path[folds == "validation"]):
        source += (
            f" That run was trained with other images than these: its record lists "
            f"{number(len(recorded))} validation images."
        )
    return folds, source


def show_counts(counts: pd.DataFrame, label: str) -> None:
    """What `overview.counts` found."""
    counts = counts.reindex([side for side in SIDES if side in counts.index]).rename(index=SIDES)
    st.dataframe(
        counts.assign(share=100 * counts.share).rename_axis("Split"),
        column_config={
            "pictures": st.column_config.NumberColumn("Images", format="localized"),
            "normal": st.column_config.NumberColumn("Normal", format="localized"),
            "pneumonia": st.column_config.NumberColumn("Pneumonia", format="localized"),
            "bacterial": st.column_config.NumberColumn("Bacterial", format="localized"),
            "viral": st.column_config.NumberColumn("Viral", format="localized"),
            "patients": st.column_config.NumberColumn("Patients", format="localized"),
            "share": st.column_config.ProgressColumn(
                "Share of pneumonia", format="%.0f %%", min_value=0, max_value=100
            ),
        },
        alt=label,
    )


def show_shared(table: pd.DataFrame, folds: pd.Series) -> None:
    official, own = overview.shared(table, table.split), overview.shared(table, folds)
    rows = {
        "Official folders": official,
        "Split in use": own,
    }
    st.dataframe(
        pd.DataFrame(
            {
                "Patients": {k: len(v.patients) for k, v in rows.items()},
                "Identical images": {k: len(v.copies) for k, v in rows.items()},
            }
        ).rename_axis("Split"),
        alt="Patients and identical images in more than one split",
    )
    for name, found in rows.items():
        if found.patients:
            listed = ", ".join(found.patients[:12])
            more = " and more" if len(found.patients) > 12 else ""
            st.caption(f"{name}, patients in more than one split: {plain(listed)}{more}.")
    copies = dataset.duplicates(table)
    groups = copies.group.nunique()
    if groups:
        text, button = st.columns([3, 1], vertical_alignment="center")
        text.markdown(
            f"{len(copies)} files are byte-identical copies of {groups} images. The split in use "
            "keeps copies together."
        )
        button.button(
            "Show the copies", on_click=go_to_copies, icon=":material/content_copy:",
            width="stretch",
        )  # fmt: skip
    else:
        st.markdown("There are no identical images.")
    left_out = int((folds == "excluded").sum())
    if left_out:
        st.markdown(
            f"{left_out} images are left out of the split in use: identical copies are in the "
            "official test folder."
        )


def go_to_copies() -> None:
    for key in ("data_split", "data_class", "data_subtype", "data_size"):
        st.session_state[key] = ALL
    st.session_state.data_name = ""
    st.session_state.data_copies = True
    st.session_state.data_page = 1
    st.session_state.data_tab = "Gallery"


def show(table: pd.DataFrame) -> None:
    st.markdown(overview.imbalance(table))
    st.header("Official folders", anchor=False)
    show_counts(overview.counts(table, table.split), "Images and patients of each official folder")
    st.caption(
        f"{overview.completeness(table)} The official val folder is too small to validate on."
    )
    st.header("Split in use", anchor=False)
    try:
        folds, source = split_in_use(table)
    except dataset.DatasetError as error:
        show_problem(str(error))
        return
    show_counts(
        overview.counts(table, folds), "Images and patients of each part of the split in use"
    )
    st.caption(
        f"Train and val together, {source} All images of a patient are in the same part. The test "
        "folder is not changed."
    )
    if not (table.split == "test").any():
        st.info(
            "There is no test folder here: runs trained on this folder are measured on validation "
            "images only.",
            icon=":material/info:",
        )
    st.header("Overlap between splits", anchor=False)
    show_shared(table, folds)
    st.caption(
        "Patients are identified by file names. Patient numbers start again in the official test "
        "folder: the same number in train and test does not mean the same child. Whether a child "
        "is in both is unknown."
    )

"""What the run in use was trained on, from the figures that come with it: no image is needed."""

from typing import Any

import pandas as pd
import streamlit as st

from cxrlib import runs
from pages.dataset_parts import augmentation_tab, overview_tab, shortcuts_tab
from pages.shared.text import number, plain


def show() -> None:
    """The tabs that can be shown without a data set."""
    summary = _summary()
    titles = ["Overview", "Shortcuts", "Augmentation"] if summary else ["Augmentation"]
    tabs = st.tabs(titles, key="data_tab", bind="query-params")
    for tab, title in zip(tabs, titles, strict=True):
        if not tab.open:
            continue
        with tab:
            match title:
                case "Overview" if summary:
                    _show_overview(summary)
                case "Shortcuts" if summary:
                    _show_shortcuts(summary)
                case _:
                    augmentation_tab.show_drawn()


def _summary() -> dict[str, Any] | None:
    if "run" not in st.session_state:
        return None
    try:
        return runs.find(st.session_state.run).data_summary
    except runs.RunError as error:
        st.warning(plain(error))
        return None


def _show_overview(summary: dict[str, Any]) -> None:
    st.markdown(
        f"The run {plain(st.session_state.run)} was trained on {number(summary['images'])} images; "
        f"these figures come with it. {summary['imbalance']}"
    )
    st.header("Folders", anchor=False)
    overview_tab.show_counts(_counts(summary, "folders"), "Images and patients of each folder")
    st.caption(summary["completeness"])
    st.header("Split of the run", anchor=False)
    overview_tab.show_counts(_counts(summary, "split"), "Images and patients of each part")
    patients, copies = (summary["shared"]["split"][name] for name in ("patients", "copies"))
    st.caption(
        "Train and val together, all images of a patient in the same part. Patients in both parts: "
        f"{patients}; identical images in both parts: {copies}. {summary['copies']['files']} files "
        f"are byte-identical copies of {summary['copies']['images']} images."
    )


def _counts(summary: dict[str, Any], name: str) -> pd.DataFrame:
    return pd.DataFrame(summary["counts"][name]).set_index("side")


def _show_shortcuts(summary: dict[str, Any]) -> None:
    st.markdown(shortcuts_tab.INTRODUCTION)
    shortcuts_tab.show_found(
        pd.DataFrame(summary["separations"]) if summary["separations"] else None,
        {name: pd.DataFrame(rows) for name, rows in summary["histograms"].items()},
        summary["constant"],
    )

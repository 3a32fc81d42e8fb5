"""The run in use, wherever it is chosen."""

import streamlit as st

from cxrlib import runs
from cxrlib.runs.provenance import trained_on


def is_synthetic(name: str) -> bool:
    """Whether a finished run was trained on synthetic radiographs, as far as can be told."""
    try:
        return trained_on(runs.find(name).metrics) == "synthetic"
    except runs.RunError:
        return False  # the page says what is wrong with it


def button_to(page: str, run: runs.Run, label: str, icon: str) -> None:
    """A button that puts a finished run in use and goes to a page.

    A link to the page would change the address alone, and the list of runs would change it back.
    """
    if st.button(
        label,
        key=f"{label} {run.name}",
        icon=icon,
        type="tertiary",
        on_click=_use,
        args=(run.name,),
    ):
        # Left to itself, Streamlit refuses to go where the address holds a widget's value.
        st.switch_page(page, query_params={})


def _use(name: str) -> None:
    st.session_state.run = name

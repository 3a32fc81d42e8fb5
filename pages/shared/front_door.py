"""Pages are entered through ``app.py``, also by a link to one of them."""

import runpy
from pathlib import Path

import streamlit as st

_APP = Path(__file__).resolve().parents[2] / "app.py"


def enter(*, reading_room: bool = False) -> None:
    """To be called first by every page; who enters any but the reading room stops reading a case.

    Streamlit takes a folder called ``pages`` for its older kind of app until ``app.py`` has run
    once. The first link to a page on a fresh server would run that page alone, without run,
    operating point and navigation.
    """
    if "entered" not in st.session_state:
        runpy.run_path(str(_APP))
        st.stop()
    if not reading_room:
        st.session_state.pop("review_case", None)

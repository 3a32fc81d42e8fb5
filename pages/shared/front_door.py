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
        runpy.run_path(str(_APP), run_name="__main__")
        st.stop()
    if not reading_room:
        st.session_state.pop("review_case", None)


def return_to_place(page: str) -> None:
    """Show a page as it was when a link with an example led away and the browser goes back.

    Streamlit writes such a link's parameters into the address that is left as well, in place of
    its own.
    """
    places = st.session_state.setdefault("places", {})
    if "example" in st.query_params and page in places:
        st.query_params.from_dict(places.pop(page))
        st.rerun()
    places[page] = st.query_params.to_dict()
    for dialog in ("data_image", "error"):
        places[page].pop(dialog, None)

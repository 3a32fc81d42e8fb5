"""The reading room: clinicians read cases blind, then against the model."""

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.reviews import ReviewError
from pages.review_parts import actions, readers, reading, records, results, start
from pages.review_parts.parts import go_to, store
from pages.shared import front_door
from pages.shared.data_folder import show_problem
from pages.shared.permissions import allowed, why_not


def show_session(uid: str) -> None:
    session = store().session(uid)
    shown = reading.chosen(session) if not session.ended else None
    if shown is None:
        st.title("Reading room", anchor=False)
        results.show(session)
    else:
        reading.show(session, shown)


def show_start() -> None:
    st.title("Reading room", anchor=False)
    if not allowed("delete"):
        start.show()  # the other tabs show everybody's readings
        return
    tabs = st.tabs(
        ["Read", "Agreement between readers", "Data"], key="review_tab", bind="query-params"
    )
    for tab, part in zip(tabs, (start, readers, records), strict=True):
        if tab.open:
            with tab:
                part.show()


front_door.enter(reading_room=True)
if reason := why_not("review"):
    st.title("Reading room", anchor=False)
    st.info(reason, icon=":material/lock:")
    st.stop()
uid = st.query_params.get("session")
if "run" not in st.session_state:
    st.info("There is no finished run in `models/`. Train one with `python train.py`.")
    st.stop()
try:
    actions.outbox().send()
    if uid:
        show_session(uid)
    else:
        show_start()
except ReviewError as error:
    st.title("Reading room", anchor=False)
    st.error(str(error))
    st.button("To the start", on_click=go_to, args=(None,))
except (runs.RunError, dataset.DatasetError) as error:
    show_problem(str(error))
except SQLAlchemyError:
    st.error(
        "The database of readings does not answer. Check the address under "
        "`[connections.reviews]` in `.streamlit/secrets.toml`, or that the file named by "
        "`CXR_REVIEWS` can be written and is an SQLite database."
    )
    if actions.outbox().unsent:
        st.info(
            "Your last answer is kept while this page is open, and sent when the database is back.",
            icon=":material/cloud_off:",
        )
    st.button("Try again", icon=":material/refresh:")

"""What the parts of the review page share: the database, words, and the way between them."""

from collections.abc import Callable

import streamlit as st
from sqlalchemy import NullPool
from sqlalchemy.exc import SQLAlchemyError

from cxrlib.reviews import STRATEGIES, Session, Store, default_url

ROLES = (
    "Radiologist",
    "Paediatrician",
    "Other physician",
    "Radiographer",
    "Medical student",
    "Other",
)
SOURCES = {
    "run": "Images that the run was tested on",
    "folder": "A folder of my own images",
    "practice": "Synthetic practice list",
}


@st.cache_resource(show_spinner="Opening the readings")
def store() -> Store:
    """The database of `[connections.reviews]` in Streamlit's secrets, or an SQLite file."""
    named = st.secrets.load_if_toml_exists() and "reviews" in st.secrets.get("connections", {})
    # A connection kept open would write on into an SQLite file that was moved away, and fail where
    # a server was restarted: the file is opened again, the server's connection is tried first.
    options = {"pool_pre_ping": True} if named else {"url": default_url(), "poolclass": NullPool}
    return Store(st.connection("reviews", type="sql", **options).engine)


def go_to(uid: str | None) -> None:
    """Show a session, or with None the page's start; for use in a callback."""
    # The time for the case that is open is counted again when it is shown again.
    st.session_state.pop("review_case", None)
    if uid is None:
        st.query_params.pop("session", None)
        st.query_params.pop("case", None)
    else:
        st.query_params["session"] = uid


def attempt(action: Callable[..., None], *given: object) -> None:
    """Have the database do something in a callback, where the page's sentence does not reach."""
    try:
        action(*given)
    except SQLAlchemyError:
        st.toast("The database did not answer. Try again.", icon=":material/cloud_off:")


def delete_button(session: Session) -> None:
    """Offers to delete one session; who has its address may."""
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown("Deletes this session with every answer and comment, for good.")
        st.button("Delete the session", on_click=attempt, args=(_delete, session.uid))


def _delete(uid: str) -> None:
    store().delete_session(uid)
    go_to(None)


def list_title(session: Session) -> str:
    """What kind of list a session has, in words."""
    if session.source != "run":
        return SOURCES[session.source]
    return f"{STRATEGIES[session.strategy].partition(':')[0]} sample of the run {session.run}"


def session_title(session: Session) -> str:
    """A session in one line."""
    done = sum(reading.stage == "done" for reading in session.readings)
    return (
        f"{session.reader.name} · {list_title(session)} · {done} of {len(session.readings)} · "
        f"{session.started:%Y-%m-%d %H:%M} UTC"
    )

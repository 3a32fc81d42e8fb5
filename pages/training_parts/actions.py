"""What the buttons of the training page do, and how what went wrong is said."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from cxrlib import runs
from cxrlib.runs.config import TrainingConfig
from cxrlib.runs.sweeps import SweepError
from cxrlib.training import devices, jobs, practice
from pages.shared.permissions import allowed
from pages.shared.text import plain

IN_PROGRESS = "In progress"
_TWO_CLICKS_SECONDS = 3.0
_SHOWN_SECONDS = 20.0  # an error


@st.cache_data(ttl=2, show_spinner=False)
def found_devices() -> list[devices.Device]:
    return devices.found()


@contextmanager
def told() -> Iterator[None]:
    """Around an action: what goes wrong in it is kept for `show_problem`."""
    st.session_state.pop("training_problem", None)
    try:
        yield
    except (runs.RunError, SweepError, OSError) as error:
        st.session_state.training_problem = reason(error), time.monotonic() + _SHOWN_SECONDS


def show_problem() -> None:
    """The error of the last action, for long enough to read it where a page runs every second."""
    problem, until = st.session_state.get("training_problem", ("", 0.0))
    if time.monotonic() < until:
        st.error(plain(problem))


def reason(error: runs.RunError | SweepError | OSError) -> str:
    """What went wrong, and what to do about it."""
    if isinstance(error, OSError):
        return (
            f"The folder {runs.MODELS} cannot be written ({error.strerror}). Free space on its "
            "disk, make it writable, or set CXR_MODELS_DIR to another folder."
        )
    return str(error)


def start(config: TrainingConfig, data: str, on: list[str]) -> None:
    """Start a run and show it; the second click of two in a row starts no second one."""
    asked = (config, data, on)
    last, at = st.session_state.get("training_started", (None, 0.0))
    if asked == last and time.monotonic() < at + _TWO_CLICKS_SECONDS:
        return
    with told():
        jobs.launch(jobs.create(config, data, on=on))
        st.session_state.training_started = asked, time.monotonic()
        st.session_state.training_tab = IN_PROGRESS


def practise() -> None:
    """Train on phantoms, which the run's own process draws, where it is free."""
    start(TrainingConfig(**practice.values()), str(practice.folder()), [found_devices()[0].id])


def resume(run: runs.Run) -> None:
    with told():
        jobs.launch(run)


def rename(run: runs.Run, key: str) -> None:
    with told():
        jobs.rename(run, st.session_state[key].strip())


def delete(run: runs.Run) -> None:
    with told():
        jobs.delete(run)


def show_rename(run: runs.Run) -> None:
    key = f"rename_{run.name}"
    st.text_input("New name", value=run.name, key=key)
    st.button("Rename", key=f"do_{key}", icon=":material/edit:", on_click=rename, args=(run, key))


def show_delete(run: runs.Run) -> None:
    if not allowed("delete"):
        return
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete **{plain(run.name)}** and everything in it? This cannot be undone.")
        st.button(
            "Delete permanently",
            key=f"delete_{run.name}",
            icon=":material/delete_forever:",
            on_click=delete,
            args=(run,),
        )

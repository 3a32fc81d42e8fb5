"""The networks that this server has loaded: each once, for everybody."""

import gc
import threading
import time
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import runs
from cxrlib.runs import ensembles
from pages.shared import memory

if TYPE_CHECKING:
    from cxrlib.inference.classifier import Classifier
    from cxrlib.inference.ensemble import EnsembleClassifier

# Each takes 0.1 GB and more, and a small server has 1 GB in all.
_KEPT = 2
_Key = tuple[str, tuple[float, ...]]
_loaded: "dict[_Key, Classifier | EnsembleClassifier]" = {}
_last_used: dict[_Key, float] = {}
# Held while TensorFlow is imported, so that no two threads import it at once: its modules import
# each other in circles, and Python would hand one of the threads a half-made module.
_loading = threading.Lock()
_warming = threading.Event()


def classifier_of(run: runs.Run) -> "Classifier | EnsembleClassifier":
    """The classifier of a finished run; loaded anew where its networks changed.

    Raises:
        RunError: the run's files, or those of an ensemble's member, are missing or damaged.
    """
    key = (str(run.folder), modified(run))
    _last_used[key] = time.monotonic()
    if reader := _loaded.get(key):  # in one step: another thread may take it away meanwhile
        return reader
    with st.spinner("Loading the network. The first time takes a few seconds."):
        return _load(run, key)


def modified(run: runs.Run) -> tuple[float, ...]:
    """When the network of a finished run was written, or each of an ensemble's.

    Raises:
        RunError: there is none.
    """
    times = []
    for member in ensembles.networks(run):
        try:
            times.append(member.model_file.stat().st_mtime)
        except FileNotFoundError as error:
            raise runs.RunError(
                f"The run {member.name} has no network: it was not copied whole. Copy the folder "
                "again or train anew."
            ) from error
    return tuple(times)


def warm_up() -> None:
    """Load the shipped run in the background, once the page stands in somebody's browser.

    Streamlit asks for the fragment again when the page is up, not before: loading TensorFlow
    takes seconds in which Python does little else.
    """
    if not _warming.is_set():
        st.session_state.page_up = False
        _when_the_page_is_up()


def warming() -> bool:
    """Whether a first page stands in somebody's browser, and the networks are on their way."""
    return _warming.is_set()


@st.fragment(run_every=2)
def _when_the_page_is_up() -> None:
    if not st.session_state.page_up:  # the page is being made: this is no call of the browser's
        st.session_state.page_up = True
        return
    if not _warming.is_set():
        _warming.set()
        threading.Thread(target=_warm, name="warm-up", daemon=True).start()
    st.rerun()  # without this fragment


def _warm() -> None:
    try:
        run = runs.find(runs.SHIPPED)
        key = (str(run.folder), modified(run))
        _last_used[key] = time.monotonic()
        reader = _load(run, key)
    except runs.RunError:
        return  # whoever asks for this run is told why
    import numpy as np

    reader.read(np.zeros((256, 256), np.uint8))  # compiles what the first picture would wait for
    memory.give_back_memory()


def _load(run: runs.Run, key: _Key) -> "Classifier | EnsembleClassifier":
    with _loading:
        if key not in _loaded:
            # TensorFlow is first imported here.
            from cxrlib.inference.ensemble import load

            memory.keep_what_is_compiled()
            memory.give_back_memory()  # before networks come on top of TensorFlow
            reader = load(run)
            while len(_loaded) >= _KEPT:
                del _loaded[min(_loaded, key=_last_used.__getitem__)]
            _loaded[key] = reader
            gc.freeze()  # leaves it out of the garbage collections to come
        return _loaded[key]

"""The networks that this server has loaded: each once, for everybody."""

from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import runs

if TYPE_CHECKING:
    from cxrlib.classifier import Classifier


def classifier_of(run: runs.Run) -> "Classifier":
    """The classifier of a finished run; loaded anew where its network changed.

    Raises:
        RunError: the run's files are missing or damaged.
    """
    try:
        modified = run.model_file.stat().st_mtime
    except FileNotFoundError as error:
        raise runs.RunError(
            f"The run {run.name} has no network: it was not copied whole. Copy the folder again or "
            "train anew."
        ) from error
    return _load(run, str(run.folder), modified)


@st.cache_resource(
    max_entries=3, show_spinner="Loading the network. The first time takes a few seconds."
)
def _load(_run: runs.Run, folder: str, modified: float) -> "Classifier":
    # TensorFlow is first imported here.
    from cxrlib.classifier import Classifier

    return Classifier(_run)

"""The networks that this server has loaded: each once, for everybody."""

from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import ensembles, runs

if TYPE_CHECKING:
    from cxrlib.classifier import Classifier
    from cxrlib.ensemble_classifier import EnsembleClassifier


def classifier_of(run: runs.Run) -> "Classifier | EnsembleClassifier":
    """The classifier of a finished run; loaded anew where its networks changed.

    Raises:
        RunError: the run's files, or those of an ensemble's member, are missing or damaged.
    """
    modified = []
    for member in ensembles.networks(run):
        try:
            modified.append(member.model_file.stat().st_mtime)
        except FileNotFoundError as error:
            raise runs.RunError(
                f"The run {member.name} has no network: it was not copied whole. Copy the folder "
                "again or train anew."
            ) from error
    return _load(run, str(run.folder), modified)


@st.cache_resource(
    max_entries=3, show_spinner="Loading the network. The first time takes a few seconds."
)
def _load(_run: runs.Run, folder: str, modified: list[float]) -> "Classifier | EnsembleClassifier":
    # TensorFlow is first imported here.
    from cxrlib.ensemble_classifier import load

    return load(_run)

"""A session's cases: their radiographs, what the model says of them, and answers in words."""

from pathlib import Path

import numpy as np
import streamlit as st

from cxrlib import reviews, runs
from cxrlib.data import dataset
from cxrlib.images.radiograph import Radiograph, RadiographError
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.explain import Explanation
from cxrlib.reviews import Reading, Session
from pages.review_parts.start import model_of
from pages.shared.loaded_models import classifier_of
from pages.shared.viewer import EncodedImage, encoding

CONFIDENCE_WORDS = ("guess", "unsure", "fair", "sure", "certain")


def answer_in_words(answer: str | None, confidence: int | None) -> str:
    """An answer, and how sure its reader was."""
    if answer is None or confidence is None:
        return "no answer"
    return f"{answer}, {CONFIDENCE_WORDS[confidence - 1]}"


@st.cache_data(max_entries=16, show_spinner="Opening the image")
def open_case(source: str, path: str, folder: Path | None) -> Radiograph:
    """The radiograph of a case; raises what `reviews.open_case` raises."""
    return reviews.open_case(source, path, folder=folder)


# Every key that is pressed draws the page again.
@st.cache_data(max_entries=16, show_spinner=False)
def encoded(case_key: str, _pixels: np.ndarray) -> EncodedImage:
    """A case's radiograph as the viewer shows it."""
    return encoding.encode(_pixels)


@st.cache_data(max_entries=500, show_spinner="Opening the images")
def thumbnail(source: str, path: str, folder: Path | None) -> bytes | None:
    """A case's radiograph, small; None where it cannot be opened."""
    try:
        return encoding.thumbnail(open_case(source, path, folder).pixels)
    except (RadiographError, dataset.DatasetError, OSError):
        return None  # why, is said where it is opened


def explained(
    session: Session, reading: Reading, pixels: np.ndarray
) -> tuple[Prediction, list[Explanation]]:
    """What the pinned run says of an image, and its heatmaps.

    Raises:
        RunError: the run is gone or was trained again.
    """
    prediction, found = _explained(model_of(session), session.model, reading.case_key, pixels)
    if session.source != "folder":  # of a run's own list, what it was measured on
        prediction = prediction.of_synthetic_image()
    return prediction, found


@st.cache_data(max_entries=16, show_spinner="Asking the model")
def _explained(
    _run: runs.Run, model: str, case_key: str, _pixels: np.ndarray
) -> tuple[Prediction, list[Explanation]]:
    prediction, found = classifier_of(_run).read(_pixels)
    return prediction, list(found.values())

"""One case at a time: blind, then against the model. Everything goes straight to the database."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from cxrlib import dataset, plots, radiograph, reviews, runs
from cxrlib.methods import METHODS
from cxrlib.metrics import verdict
from cxrlib.points import POINT_TITLES
from cxrlib.reviews import ANSWERS, RATINGS, Reading, Session, Stage
from pages.common.networks import classifier_of
from pages.common.words import plain
from pages.review_tabs import viewer, visit
from pages.review_tabs.parts import delete_button, go_to, store
from pages.review_tabs.start import model_of

if TYPE_CHECKING:
    from cxrlib.classifier import Prediction

_CONFIDENCE = ("guess", "unsure", "fair", "sure", "certain")


def show(session: Session, reading: Reading) -> None:
    """The case to be read, in the stage it is in."""
    now = visit.enter(session, reading)
    done = sum(reading.stage == "done" for reading in session.readings)
    # A title that is only heard, for the picture's sake; but Streamlit's header must not cover the
    # tools.
    st.html("<h1 style='position:absolute;clip-path:inset(50%)'>Reading room</h1>")
    st.space("small")
    picture, panel = st.columns([7, 3], gap="medium")
    with panel:
        st.progress(
            done / len(session.readings), f"Case {reading.position} of {len(session.readings)}"
        )
        body = st.container()
        _leave(session)
    shown: radiograph.Radiograph | None = None
    with picture:
        place = st.container()
        try:
            shown = open_case(session.source, reading.path)
        except (radiograph.RadiographError, dataset.DatasetError, OSError) as error:
            # Nothing of the file's name, which could tell the label.
            st.error(
                "This picture cannot be opened: it is damaged, gone, or could not be fetched. "
                "Skip it, or mend that and read on later.",
                icon=":material/broken_image:",
            )
            if isinstance(error, radiograph.RadiographError):
                st.caption(plain(error))
    with body:
        if reading.stage == "first":
            _blind(now, reading, readable=shown is not None)
            heatmaps: dict[str, np.ndarray] = {}
        else:
            heatmaps = _revealed(now, session, reading, shown)
    if shown is not None:
        with place:
            if session.source == "practice":
                st.caption(":material/science: Synthetic radiograph, drawn by a program.")
            viewer.show(
                shown.pixels,
                visit.picture_id(session, reading),
                heatmaps,
                stage=reading.stage,
                keys=visit.keys(reading.stage),
            )
            if heatmaps:
                st.html(plots.heat_legend(viewer.COLOURS))
    now.drawn()


@st.cache_data(max_entries=16, show_spinner="Opening the picture")
def open_case(source: str, path: str) -> radiograph.Radiograph:
    return reviews.open_case(source, path)


def _blind(now: visit.Visit, reading: Reading, *, readable: bool) -> None:
    _answers(now, reading, "first")
    ready = reading.first_answer is not None and reading.first_confidence is not None
    _button(
        now,
        "Done: show the model",
        "commit",
        visit.DONE,
        type="primary",
        icon=":material/visibility:",
        disabled=not (ready and readable),
    )
    if not ready:
        st.caption("Choose an answer and how sure you are. The model's answer comes after that.")
    _button(now, "Skip this case", "skip", visit.SKIP, icon=":material/skip_next:")
    _remarks(now, reading)


def _revealed(
    now: visit.Visit, session: Session, reading: Reading, shown: radiograph.Radiograph | None
) -> dict[str, np.ndarray]:
    heatmaps: dict[str, np.ndarray] = {}
    probability = reading.probability
    if shown is not None:
        try:
            prediction, heatmaps = explained(session, reading, shown.pixels)
            if probability is None:
                probability = prediction.probability
                store().keep_probability(reading.id, probability)
        except (runs.RunError, OSError) as error:
            st.warning(plain(error))
    if probability is not None:
        point = session.operating_point
        mark, words = plots.VERDICTS[verdict(probability, point)]
        st.markdown(f"## Model: {mark} {words}")
        st.html(plots.verdict_bar(probability, point))
        st.caption(
            f"Probability of pneumonia {plots.percent(probability)}, operating point at "
            f"{plots.percent(point.threshold)} ({POINT_TITLES[point.name]}). Your blind answer: "
            f"{reading.first_answer}, {_CONFIDENCE[reading.first_confidence - 1]}."
        )
    st.markdown("**Your answer now**")
    _answers(now, reading, "second")
    if heatmaps:
        st.markdown("Does the heatmap point at the finding?")
        with st.container(horizontal=True, gap="small"):
            for rating in RATINGS:
                _button(
                    now,
                    rating.capitalize(),
                    f"rate-{rating}",
                    visit.RATING_KEYS[rating],
                    type="primary" if reading.rating == rating else "secondary",
                    width="content",
                )
        if not any(heatmap.any() for heatmap in heatmaps.values()):
            st.caption("Nothing in this picture speaks for pneumonia by these methods.")
    _button(
        now,
        "Next case",
        "go-on",
        visit.DONE,
        type="primary",
        icon=":material/arrow_forward:",
    )
    _remarks(now, reading)
    return heatmaps


@st.cache_data(max_entries=16, show_spinner="Asking the model. The first time takes some seconds.")
def _explained(
    _run: runs.Run, model: str, case_key: str, _pixels: np.ndarray
) -> tuple["Prediction", dict[str, np.ndarray]]:
    prediction, found = classifier_of(_run).read(_pixels)
    return prediction, {
        METHODS[method].title: explanation.on(plots.for_screen(_pixels).shape)
        for method, explanation in found.items()
    }


def explained(
    session: Session, reading: Reading, pixels: np.ndarray
) -> tuple["Prediction", dict[str, np.ndarray]]:
    """What the pinned run says of a picture, and heatmaps by their title.

    Raises:
        RunError: the run is gone or was trained anew.
    """
    return _explained(model_of(session), session.model, reading.case_key, pixels)


def _answers(now: visit.Visit, reading: Reading, stage: Stage) -> None:
    answer = getattr(reading, f"{stage}_answer")
    confidence = getattr(reading, f"{stage}_confidence")
    first, *subtypes, last = ANSWERS
    for row in ((first, subtypes[0]), subtypes[1:], (last,)):
        for column, name in zip(st.columns(len(row)), row, strict=True):
            with column:
                words = name.capitalize() if name not in ("bacterial", "viral") else f"… {name}"
                _button(
                    now,
                    words,
                    f"{stage}-{name}",
                    visit.ANSWER_KEYS[name],
                    type="primary" if name == answer else "secondary",
                )
    chosen = _CONFIDENCE[confidence - 1] if confidence else "choose 1 to 5"
    st.markdown(f"How sure? **{chosen}**")
    with st.container(horizontal=True, gap="small"):
        for number in reviews.CONFIDENCES:
            _button(
                now,
                "",
                f"{stage}-{number}",
                str(number),
                type="primary" if number == confidence else "secondary",
                width="content",
                help=_CONFIDENCE[number - 1],
            )


def _remarks(now: visit.Visit, reading: Reading) -> None:
    _button(
        now,
        "Flagged for a second opinion" if reading.flagged else "Flag for a second opinion",
        "flag",
        visit.FLAG,
        icon=":material/flag:",
        type="primary" if reading.flagged else "secondary",
    )
    with st.container(key="review_comment"):
        st.text_area(
            "Comment (E to write, Esc when done)",
            reading.comment,
            height=80,
            max_chars=2000,
            key=visit.comment_key(reading.id),
        )


def _button(now: visit.Visit, label: str, key: str, shortcut: str, **look: object) -> None:
    """A button that does what its key does."""
    st.button(
        label,
        key=f"{key}-{now.case[0]}",
        shortcut=shortcut,
        on_click=now.clicks.append,
        args=(shortcut,),
        **{"width": "stretch"} | look,
    )


def _leave(session: Session) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button("Leave, go on later", icon=":material/pause:", on_click=go_to, args=(None,))
        with st.popover("End now", icon=":material/stop:"):
            st.markdown(
                "The session is over then: you see the results and the reference labels, and "
                "cannot read the cases that are left."
            )
            st.button("End the session", type="primary", on_click=store().end, args=(session.uid,))
        delete_button(session)

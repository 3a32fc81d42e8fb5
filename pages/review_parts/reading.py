"""One case at a time: blind, then against the model. Everything goes straight to the database."""

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock

import numpy as np
import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from cxrlib import plots, reviews, runs
from cxrlib.data import dataset
from cxrlib.images import radiograph
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.methods import METHODS
from cxrlib.metrics import verdict
from cxrlib.reviews import ANSWERS, RATINGS, Reading, Session, Stage
from cxrlib.runs.operating_points import POINT_TITLES
from pages.review_parts import viewer
from pages.review_parts.parts import attempt, delete_button, go_to, store
from pages.review_parts.start import model_of
from pages.shared.data_folder import folder_in_use
from pages.shared.heat_in_lungs import show_share
from pages.shared.loaded_models import classifier_of
from pages.shared.text import plain

_ANSWER_KEYS = dict(zip(ANSWERS, "NPBVU", strict=True))
_RATING_KEYS = dict(zip(RATINGS, "YQX", strict=True))
_CONFIDENCE = ("guess", "unsure", "fair", "sure", "certain")
_ELSEWHERE = "This case was changed in another tab. Here is how it stands."
_Acts = dict[str, Callable[[float], None]]  # given the moment of the click


@dataclass
class _Outbox:
    """What a reader did, and when, until the database has it.

    Attributes:
        last: the number of the last key that was taken in; numbers rise with each.
    """

    last: int = 0
    unsent: list[tuple[float, Callable[[float], None]]] = field(default_factory=list)
    lock: RLock = field(default_factory=RLock)

    def add(self, action: Callable[[float], None]) -> None:
        self.unsent.append((time.monotonic(), action))

    def send(self) -> None:
        """Do in order what is not done yet.

        Raises:
            SQLAlchemyError: the database is gone; what it does not have is kept.
        """
        with self.lock:
            while self.unsent:
                moment, action = self.unsent[0]
                action(moment)
                del self.unsent[0]


def outbox() -> _Outbox:
    """What this browser's reader did that the database may not have yet."""
    return st.session_state.setdefault("review_outbox", _Outbox())


def _do(action: Callable[[float], None]) -> None:
    """Do something now, or as soon as the database is back: the page says where it is gone."""
    box = outbox()
    box.add(action)
    with suppress(SQLAlchemyError):
        box.send()


def show(session: Session, reading: Reading) -> None:
    """The case to be read, in the stage it is in."""
    acts = _acts(session.uid, reading)
    done = sum(reading.stage == "done" for reading in session.readings)
    # No title, for the picture's sake; but Streamlit's header must not cover the tools.
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
            shown = open_case(session.source, reading.path, folder_in_use())
        except (radiograph.RadiographError, dataset.DatasetError, OSError) as error:
            # Nothing of the file's name, which could tell the label.
            st.error(
                "This image cannot be opened: it is damaged, gone, or could not be fetched. "
                "Skip it, or restore it and read on later.",
                icon=":material/broken_image:",
            )
            if isinstance(error, radiograph.RadiographError):
                st.caption(plain(error))
    with body:
        if reading.stage == "first":
            _blind(reading, acts, readable=shown is not None)
            heatmaps: dict[str, np.ndarray] = {}
            prediction = None
        else:
            prediction, heatmaps = _revealed(session, reading, acts, shown)
    here = (reading.id, reading.stage)
    if st.session_state.get("review_case") != here:
        st.session_state.review_case = here
        st.session_state.review_since = time.monotonic()
    if shown is not None:
        with place:
            if session.source == "practice":
                st.caption(":material/science: Synthetic radiograph, drawn by a program.")
            viewer.show(
                shown.pixels,
                f"{session.uid[:8]}-{reading.position}",
                heatmaps,
                prediction.lungs if prediction else None,
                stage=reading.stage,
                keys=acts,
                hear=partial(_hear, session.uid, reading.id),
            )
            if prediction:
                _show_heat(prediction, heatmaps)


@st.cache_data(max_entries=16, show_spinner="Opening the picture")
def open_case(source: str, path: str, folder: Path | None) -> radiograph.Radiograph:
    return reviews.open_case(source, path, folder=folder)


def _blind(reading: Reading, acts: _Acts, *, readable: bool) -> None:
    _answers(reading, acts)
    # Not disabled until both are chosen: a click before the page is drawn again would be lost.
    _button(
        "Done: show the model",
        "commit",
        reading,
        "Enter",
        acts,
        type="primary",
        icon=":material/visibility:",
        disabled=not readable,
    )
    if reading.first_answer is None or reading.first_confidence is None:
        st.caption("Choose an answer and how sure you are. The model's answer comes after that.")
    _button("Skip this case", "skip", reading, "S", acts, icon=":material/skip_next:")
    _remarks(reading, acts)


def _revealed(
    session: Session, reading: Reading, acts: _Acts, shown: radiograph.Radiograph | None
) -> tuple[Prediction | None, dict[str, np.ndarray]]:
    prediction: Prediction | None = None
    heatmaps: dict[str, np.ndarray] = {}
    probability = reading.probability
    if shown is not None:
        try:
            prediction, heatmaps = explained(session, reading, shown.pixels)
            if session.source != "folder":  # of a run's own list, what it was measured on
                prediction = prediction.of_synthetic_image()
            if probability is None:
                probability = prediction.probability
                store().keep_probability(reading.id, probability)
        except (runs.RunError, OSError) as error:
            st.warning(plain(error))
    if probability is not None:
        point = session.operating_point
        mark, words = plots.VERDICTS[verdict(probability, point)]
        st.markdown(f"#### Model: {mark} {words}")
        st.html(plots.verdict_bar(probability, point))
        st.caption(
            f"Probability of pneumonia {plots.percent(probability)}, operating point at "
            f"{plots.percent(point.threshold)} ({POINT_TITLES[point.name]}). Your blind answer: "
            f"{reading.first_answer}, {_CONFIDENCE[reading.first_confidence - 1]}."
        )
    if prediction and prediction.reason:
        st.warning(f"The model rejects this image. {prediction.reason}")
    st.markdown("**Your answer now**")
    _answers(reading, acts)
    if any(heatmap.any() for heatmap in heatmaps.values()):
        st.markdown("Does the heatmap point at the finding?")
        with st.container(horizontal=True, gap="small"):
            for rating in RATINGS:
                _button(
                    rating.capitalize(),
                    f"rate-{rating}",
                    reading,
                    _RATING_KEYS[rating],
                    acts,
                    type="primary" if reading.rating == rating else "secondary",
                    width="content",
                )
    _button(
        "Next case",
        "go-on",
        reading,
        "Enter",
        acts,
        type="primary",
        icon=":material/arrow_forward:",
    )
    _remarks(reading, acts)
    return prediction, heatmaps


def _show_heat(prediction: Prediction, heatmaps: dict[str, np.ndarray]) -> None:
    """What to know of the heatmaps over the picture."""
    st.html(plots.heat_legend(viewer.COLOURS))
    if not any(heatmap.any() for heatmap in heatmaps.values()):
        st.caption("Nothing in this image speaks for pneumonia by these methods.")
    elif prediction.lungs.found:
        for title, heatmap in heatmaps.items():
            if heatmap.any():
                show_share(prediction, heatmap, f"{title}'s heat")


@st.cache_data(max_entries=16, show_spinner="Asking the model")
def _explained(
    _run: runs.Run, model: str, case_key: str, _pixels: np.ndarray
) -> tuple[Prediction, dict[str, np.ndarray]]:
    prediction, found = classifier_of(_run).read(_pixels)
    return prediction, {
        METHODS[method].title: explanation.on(plots.for_overlay(_pixels).shape)
        for method, explanation in found.items()
    }


def explained(
    session: Session, reading: Reading, pixels: np.ndarray
) -> tuple[Prediction, dict[str, np.ndarray]]:
    """What the pinned run says of a picture, and heatmaps by their title.

    Raises:
        RunError: the run is gone or was trained again.
    """
    return _explained(model_of(session), session.model, reading.case_key, pixels)


def _answers(reading: Reading, acts: _Acts) -> None:
    stage = reading.stage
    answer = getattr(reading, f"{stage}_answer")
    confidence = getattr(reading, f"{stage}_confidence")
    first, *subtypes, last = ANSWERS
    for row in ((first, subtypes[0]), subtypes[1:], (last,)):
        for column, name in zip(st.columns(len(row)), row, strict=True):
            with column:
                words = name.capitalize() if name not in ("bacterial", "viral") else f"… {name}"
                _button(
                    words,
                    f"{stage}-{name}",
                    reading,
                    _ANSWER_KEYS[name],
                    acts,
                    type="primary" if name == answer else "secondary",
                )
    chosen = _CONFIDENCE[confidence - 1] if confidence else "choose 1 to 5"
    st.markdown(f"How sure? **{chosen}**")
    with st.container(horizontal=True, gap="small"):
        for number in reviews.CONFIDENCES:
            _button(
                "",
                f"{stage}-{number}",
                reading,
                str(number),
                acts,
                type="primary" if number == confidence else "secondary",
                width="content",
                help=_CONFIDENCE[number - 1],
            )


def _remarks(reading: Reading, acts: _Acts) -> None:
    _button(
        "Flagged for a second opinion" if reading.flagged else "Flag for a second opinion",
        "flag",
        reading,
        "F",
        acts,
        icon=":material/flag:",
        type="primary" if reading.flagged else "secondary",
    )

    with st.container(key="review_comment"):
        key = f"comment-{reading.id}-{reading.stage}"
        st.text_area(
            "Comment (E to write, Esc when done)",
            reading.comment,
            height=80,
            max_chars=2000,
            key=key,
            on_change=_note,
            args=(reading.id, key),
        )


def _button(
    label: str,
    key: str,
    reading: Reading,
    shortcut: str,
    acts: _Acts,
    **look: object,
) -> None:
    st.button(
        label,
        key=f"{key}-{reading.id}",
        shortcut=shortcut,
        on_click=_do,
        args=(acts[shortcut],),
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
            st.button(
                "End the session", type="primary", on_click=attempt, args=(store().end, session.uid)
            )
        delete_button(session)


# --- what the buttons and their keys do -----------------------------------------------------------


def _acts(uid: str, reading: Reading) -> _Acts:
    """What each key does in the stage that a reading is in."""
    number, stage = reading.id, reading.stage
    acts: _Acts = {"F": partial(_flag, number, stage, not reading.flagged)}
    for name, key in _ANSWER_KEYS.items():
        acts[key] = partial(_choose, number, stage, name, None)
    for confidence in reviews.CONFIDENCES:
        acts[str(confidence)] = partial(_choose, number, stage, None, confidence)
    if stage == "first":
        return acts | {"Enter": partial(_commit, uid, number), "S": partial(_skip, number)}
    for rating, key in _RATING_KEYS.items():
        acts[key] = partial(_rate, number, rating)
    return acts | {"Enter": partial(_go_on, number)}


def _hear(uid: str, reading: int, pressed: Iterable[tuple[int, Stage, str]]) -> None:
    """Do what the keys say that were not heard yet, in the order they were pressed.

    A key belongs to what its reader saw: pressed before the model was shown, it changes nothing
    afterwards.
    """
    box = outbox()
    # For the next key Streamlit starts another thread, and lets this one run on until it looks at
    # the session state: what is done must be noted without a look, or it would be done twice.
    with box.lock:
        for number, stage, key in pressed:
            if number > box.last:
                box.add(partial(_press, uid, reading, stage, key))
                box.last = number
        with suppress(SQLAlchemyError):
            box.send()


def _press(uid: str, reading: int, stage: Stage, key: str, moment: float) -> None:
    now = store().session(uid).current
    if now and (now.id, now.stage) == (reading, stage):
        _acts(uid, now)[key](moment)


def _told(changed: bool) -> None:
    if not changed:
        st.toast(_ELSEWHERE, icon=":material/sync_problem:")


def _choose(
    reading: int, stage: Stage, answer: str | None, confidence: int | None, moment: float
) -> None:
    _told(store().answer(reading, stage, answer=answer, confidence=confidence))


def _note(reading: int, key: str) -> None:
    comment = st.session_state[key]
    _do(lambda moment: _told(store().note(reading, comment)))


def _flag(reading: int, stage: Stage, flagged: bool, moment: float) -> None:
    _told(store().flag(reading, stage, flagged))


def _rate(reading: int, rating: str, moment: float) -> None:
    _told(store().rate(reading, rating))


def _skip(reading: int, moment: float) -> None:
    _told(store().skip(reading))


def _commit(uid: str, reading: int, moment: float) -> None:
    if store().commit_first(reading, _seconds(moment)):
        return
    now = store().session(uid).current
    # Otherwise it was pressed twice.
    if now and (now.id, now.stage) == (reading, "first"):
        st.toast("Choose an answer and how sure you are first.", icon=":material/touch_app:")


def _go_on(reading: int, moment: float) -> None:
    _told(store().commit_second(reading, _seconds(moment)))


def _seconds(moment: float) -> float:
    return moment - st.session_state.review_since

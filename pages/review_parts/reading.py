"""One case at a time: blind, then against the model. Everything goes straight to the database."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from cxrlib import plots, reviews, runs
from cxrlib.data import dataset
from cxrlib.formatting import percent, rate
from cxrlib.images.radiograph import Radiograph, RadiographError
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.explain import Explanation
from cxrlib.metrics import verdict
from cxrlib.reviews import ANSWERS, RATINGS, Reading, Session
from cxrlib.runs.operating_points import POINT_TITLES
from pages.review_parts import actions, case_strip, cases
from pages.review_parts.actions import Actions
from pages.review_parts.parts import attempt, delete_button, go_to, store
from pages.shared import viewer
from pages.shared.data_folder import folder_in_use
from pages.shared.text import plain
from pages.shared.viewer import encoding

# Streamlit's header covers nothing; what stands above and below the radiograph.
_STYLE = """<style>
.stMainBlockContainer { padding-top: 4rem; }
.st-key-case { --above: 13.5rem; }
</style>"""


def chosen(session: Session) -> Reading | None:
    """The case that the address asks for, where it may be seen; else the one to go on with."""
    asked = st.query_params.get("case")
    return next(
        (reading for reading in case_strip.reachable(session) if str(reading.position) == asked),
        session.current,
    )


def show(session: Session, reading: Reading) -> None:
    """A case in the stage it is in: to be read, or to be looked at again."""
    acts = actions.actions_of(session.uid, reading)
    st.html(_STYLE)
    image, panel = st.columns([7, 3], gap="medium")
    with panel:
        st.markdown(f"**Case {reading.position} of {len(session.readings)}**")
        case_strip.show(session, reading, _open)
        body = st.container(gap="xsmall")
        _leave(session)
    with image:
        place = st.container(key="case")
        with place:
            radiograph = _open_radiograph(session, reading)
    prediction: Prediction | None = None
    explanations: Sequence[Explanation] = []
    with body:
        if reading.stage == "first":
            _ask_blind(session, reading, acts, readable=radiograph is not None)
        else:
            prediction, explanations = _show_model(session, reading, radiograph)
            if reading.stage == "done":
                _show_answers(session, reading, acts)
            else:
                heat = any(found.values.any() for found in explanations)
                _ask_again(reading, acts, heat=heat)
    here = (reading.id, reading.stage)
    if st.session_state.get("review_case") != here:
        st.session_state.review_case = here
        st.session_state.review_since = time.monotonic()
    if radiograph is None:
        return
    with place:
        if session.source == "practice":
            st.caption(":material/science: Synthetic radiograph, drawn by a program.")
        viewer.show(
            cases.encoded(reading.case_key, radiograph.pixels),
            f"{session.uid[:8]}-{reading.position}",
            title=f"Radiograph of case {reading.position}",
            file_stem=f"case-{reading.position}",
            overlays=encoding.overlays_of(prediction, explanations) if prediction else (),
            contours=encoding.outlines(prediction.lungs) if prediction else (),
            on_step=partial(_step, session, reading),
            keys={key: action.title for key, action in acts.items()},
            stage=reading.stage,
            comment="review_comment",
            on_keys=partial(actions.handle_keys, session.uid, reading.id),
        )


def _open_radiograph(session: Session, reading: Reading) -> Radiograph | None:
    try:
        return cases.open_case(session.source, reading.path, folder_in_use())
    except (RadiographError, dataset.DatasetError, OSError) as error:
        # Nothing of the file's name, which could tell the label.
        st.error(
            "This image cannot be opened: it is damaged, gone, or could not be fetched. "
            "Skip it, or restore it and read it later.",
            icon=":material/broken_image:",
        )
        if isinstance(error, RadiographError):
            st.caption(plain(error))
        return None


def _open(position: int) -> None:
    st.query_params.case = str(position)


def _step(session: Session, reading: Reading, by: int) -> None:
    positions = [one.position for one in case_strip.reachable(session)]
    at = positions.index(reading.position) + by
    if 0 <= at < len(positions):
        _open(positions[at])


# --- what is asked, and what was answered ---------------------------------------------------------


def _ask_blind(session: Session, reading: Reading, acts: Actions, *, readable: bool) -> None:
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
    if reading.skipped:
        _show_ways_on(session)
    else:
        _button("Skip this case", "skip", reading, "S", acts, icon=":material/skip_next:")
    if skipped := actions.skipped_before(session.uid):
        _, position = skipped
        _button(
            f"Undo: back to case {position}",
            "undo",
            reading,
            actions.UNDO,
            acts,
            icon=":material/undo:",
        )
    _remarks(reading, acts)


def _show_ways_on(session: Session) -> None:
    """What else than reading it can be done with a case that was skipped."""
    undone = [one for one in session.readings if one.stage != "done"]
    if not all(one.skipped for one in undone):
        st.caption("You skipped this case. It comes again after the others.")
        _go_on_button(session)
        return
    st.caption(
        f"All others are done; {len(undone)} skipped {'is' if len(undone) == 1 else 'are'} left."
    )
    st.button(
        "Finish without them" if len(undone) > 1 else "Finish without it",
        icon=":material/done_all:",
        width="stretch",
        on_click=attempt,
        args=(_end, session.uid),
    )


def _go_on_button(session: Session, **look: Any) -> None:
    if current := session.current:
        st.button(
            f"Go on with case {current.position}",
            key="go_on_reading",
            icon=":material/arrow_forward:",
            width="stretch",
            on_click=_leave_earlier_case,
            **look,
        )


def _leave_earlier_case() -> None:
    st.query_params.pop("case", None)


def _show_model(
    session: Session, reading: Reading, radiograph: Radiograph | None
) -> tuple[Prediction | None, Sequence[Explanation]]:
    prediction: Prediction | None = None
    explanations: Sequence[Explanation] = []
    probability = reading.probability
    if radiograph is not None:
        try:
            prediction, explanations = cases.explained(session, reading, radiograph.pixels)
            if probability is None:
                probability = prediction.probability
                store().keep_probability(reading.id, probability)
        except (runs.RunError, OSError) as error:
            st.warning(plain(error))
    if probability is not None:
        point = session.operating_point
        mark, words = plots.VERDICTS[verdict(probability, point)]
        st.header(f"Model: {mark} {words}", anchor=False)
        st.html(plots.verdict_bar(probability, point))
        st.caption(
            f"Probability of pneumonia {percent(probability)}. Line: threshold, "
            f"{rate(point.threshold)} ({POINT_TITLES[point.name]})."
        )
    if prediction and prediction.reason:
        st.warning(f"The model rejects this image. {plain(prediction.reason)}")
    blind = cases.answer_in_words(reading.first_answer, reading.first_confidence)
    st.markdown(f"Your blind answer: **{blind}**")
    return prediction, explanations


def _ask_again(reading: Reading, acts: Actions, *, heat: bool) -> None:
    st.markdown("**Your answer now**")
    _answers(reading, acts)
    if heat and reading.second_answer != "normal":
        st.markdown("Does the heatmap point at the finding?")
        with st.container(horizontal=True, gap="small"):
            for rating in RATINGS:
                _button(
                    rating.capitalize(),
                    f"rate-{rating}",
                    reading,
                    actions.RATING_KEYS[rating],
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


def _show_answers(session: Session, reading: Reading, acts: Actions) -> None:
    """A reading that is over, to be looked at."""
    after = cases.answer_in_words(reading.second_answer, reading.second_confidence)
    st.markdown(f"After the model: **{after}**")
    if reading.rating:
        st.markdown(f"The heatmap points at the finding: **{reading.rating}**")
    if reading.flagged:
        st.markdown(":material/flag: Flagged for a second opinion")
    if reading.comment:
        st.markdown(f"Comment: {plain(reading.comment)}")
    st.caption("This reading is done and cannot be changed. Reference labels are shown at the end.")
    _go_on_button(session, type="primary", shortcut="Enter")


def _answers(reading: Reading, acts: Actions) -> None:
    stage = reading.stage
    answer = getattr(reading, f"{stage}_answer")
    confidence = getattr(reading, f"{stage}_confidence")
    first, *subtypes, last = ANSWERS
    for row in ((first, last), subtypes):
        with st.container(horizontal=True, gap="small"):
            for name in row:
                words = f"… {name}" if name in ("bacterial", "viral") else name.capitalize()
                _button(
                    words,
                    f"{stage}-{name}",
                    reading,
                    actions.ANSWER_KEYS[name],
                    acts,
                    type="primary" if name == answer else "secondary",
                )
    least, *_, most = cases.CONFIDENCE_WORDS
    words = f"1 ({least}) to {len(cases.CONFIDENCE_WORDS)} ({most})"
    if confidence:
        words = f"**{cases.CONFIDENCE_WORDS[confidence - 1]}**"
    st.markdown(f"How sure? {words}")
    with st.container(horizontal=True, gap="small"):
        for number in reviews.CONFIDENCES:
            # Its label is its key, which the viewer hears.
            st.button(
                str(number),
                key=f"{stage}-{number}-{reading.id}",
                on_click=actions.do,
                args=(acts[str(number)].run,),
                type="primary" if number == confidence else "secondary",
                help=cases.CONFIDENCE_WORDS[number - 1],
            )


def _remarks(reading: Reading, acts: Actions) -> None:
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
            "Comment",
            reading.comment,
            height=80,
            max_chars=2000,
            key=key,
            on_change=actions.keep_comment,
            args=(reading.id, key),
        )


def _button(
    label: str,
    key: str,
    reading: Reading,
    shortcut: str,
    acts: Actions,
    **look: Any,
) -> None:
    options: dict[str, Any] = {"width": "stretch"} | look
    st.button(
        label,
        key=f"{key}-{reading.id}",
        shortcut=shortcut,
        on_click=actions.do,
        args=(acts[shortcut].run,),
        **options,
    )


def _end(uid: str) -> None:
    st.query_params.pop("case", None)
    store().end(uid)


def _leave(session: Session) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Pause",
            icon=":material/pause:",
            on_click=go_to,
            args=(None,),
            help="Everything is saved. Continue later from the start of this page, or from this "
            "session's address.",
        )
        with st.popover("End now", icon=":material/stop:"):
            st.markdown(
                "This ends the session: you see the results and the reference labels, and cannot "
                "read the remaining cases."
            )
            st.button("End the session", type="primary", on_click=attempt, args=(_end, session.uid))
        delete_button(session)

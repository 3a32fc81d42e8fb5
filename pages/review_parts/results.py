"""What a session came to."""

import pandas as pd
import streamlit as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlib import plots, reviews, runs
from cxrlib.evaluation.run_on_split import Curves, Measured
from cxrlib.metrics import Estimate
from cxrlib.reviews import Session, SessionResult
from cxrlib.reviews.agreement import Accuracy
from pages.review_parts.parts import delete_button, go_to, list_title, store
from pages.review_parts.start import model_of
from pages.shared.downloadable import show_figure, show_table
from pages.shared.text import plain

_CHOSEN_BY_MODEL = ("hardest", "errors", "uncertain")


def show(session: Session) -> None:
    """Numbers, minds changed, the ROC curve and every case; only once the session is over."""
    table = reviews.export(store(), uid=session.uid)
    found = reviews.session_result(table)
    with st.container(horizontal=True, gap="small"):
        st.button("All sessions", icon=":material/arrow_back:", on_click=go_to, args=(None,))
        delete_button(session)
    st.header(f"{plain(session.reader.name)}: {plain(list_title(session))}", anchor=False)
    st.caption(
        f"{found.read} read, {found.skipped} skipped, {found.flagged} flagged for a second "
        f"opinion. Against the run {plain(session.run)} at {plots.percent(session.threshold)}."
    )
    if not found.read:
        st.info("No case was read to its end, so there is nothing to compare.")
        return
    if session.source == "practice":
        st.info(
            "A synthetic practice list: these numbers show how the page works, and say nothing "
            "about you or the model.",
            icon=":material/science:",
        )
    _headline(found)
    numbers, drawing = st.columns(2, gap="large")
    with numbers:
        _numbers(session, found)
        _changed(found)
    with drawing:
        _roc(session, found)
    _cases(table)


def _headline(found: SessionResult) -> None:
    effects = found.changed.effect.value_counts()
    with st.container(horizontal=True, gap="large"):
        _metric("Agreement with the model, blind", found.kappa_before)
        _metric("after the model", found.kappa_after)
        st.metric("Changed for the better", int(effects.get("better", 0)), width="content")
        st.metric("Changed for the worse", int(effects.get("worse", 0)), width="content")
        st.metric(
            "Reading time a case",
            f"{found.seconds:.0f} s",
            f"{found.seconds_after:.0f} s with the model",
            delta_color="off",
            delta_arrow="off",
            width="content",
            help="Median. Counted while the case was open in the visit in which you answered.",
        )


def _metric(title: str, found: Estimate) -> None:
    value, _, interval = str(found).partition(" ")
    st.metric(
        title,
        value,
        interval.strip("()") or None,
        delta_color="off",
        delta_arrow="off",
        width="content",
        help="Cohen's kappa: 0 is what chance gives, 1 full agreement. *Cannot tell* and the "
        "model's *uncertain* count as a third answer.",
    )


def _numbers(session: Session, found: SessionResult) -> None:
    rows = {
        "you, blind": found.before,
        "you, after the model": found.after,
        "model": found.model,
    }
    shown = pd.DataFrame(
        {
            "who": list(rows),
            "sensitivity": [str(row.sensitivity) for row in rows.values()],
            "specificity": [str(row.specificity) for row in rows.values()],
        }
    )
    st.markdown("**Who was right**")
    show_table(shown, "session", "Sensitivity and specificity with 95 % intervals")
    chosen = (
        " The list was chosen by the model's own scores: its figures here are not its usual ones."
        if session.strategy in _CHOSEN_BY_MODEL
        else ""
    )
    if session.split == "validation":
        chosen += (
            " The model's operating point was chosen on the validation pictures, of which these "
            "are some: its figures are somewhat too good."
        )
    st.caption(
        "On the cases that have a reference label. *Cannot tell* finds no pneumonia and clears no "
        f"normal picture. With few cases the intervals are wide.{chosen}"
    )


def _changed(found: SessionResult) -> None:
    st.markdown("**Minds changed**")
    if found.changed.empty:
        st.caption(
            "Between normal, pneumonia and *cannot tell* the model changed none of the answers."
        )
        return
    columns = ["position", "first", "second", "label", "probability", "effect"]
    show_table(
        found.changed[columns],
        "changed",
        "Cases whose answer was changed",
        columns={"probability": st.column_config.NumberColumn("model", format="percent")},
    )


def _roc(session: Session, found: SessionResult) -> None:
    if session.source != "run":
        st.caption(
            "The run's ROC curve is not shown: it was measured on other pictures than these."
        )
        return
    st.markdown("**On the run's ROC curve**")
    try:
        figure = _roc_with_reader(Measured(model_of(session), session.split), session.point, found)
    except (runs.RunError, OSError) as error:
        st.warning(plain(error))
        return
    show_figure(figure, "reader-roc", "ROC curve of the run with the reader as points on it")
    st.caption(
        f"Curve: the run on all its {session.split} pictures, dot: its operating point. Diamond: "
        "you, blind; square: after the model, each with 95 % intervals. Above the curve you read "
        "better than the model could at your specificity, if the list was a random one."
    )


def _roc_with_reader(measured: Measured, point: str, found: SessionResult) -> Figure:
    figure = Curves([measured], point).roc_figure()
    axes = figure.axes[0]
    for marker, colour, words, row in (
        ("D", plots.SERIES[1], "blind", found.before),
        ("s", plots.SERIES[2], "after", found.after),
    ):
        _mark_reader(axes, row, marker, colour, words)
    return figure


def _mark_reader(axes: Axes, row: Accuracy, marker: str, colour: str, words: str) -> None:
    sensitivity, specificity = row.sensitivity, row.specificity
    x, y = 1 - specificity.value, sensitivity.value
    axes.errorbar(
        x,
        y,
        xerr=[[specificity.high - specificity.value], [specificity.value - specificity.low]],
        yerr=[[y - sensitivity.low], [sensitivity.high - y]],
        marker=marker,
        ms=8,
        color=colour,
        elinewidth=1,
        capsize=2,
        mec=plots.INK["light"],
    )
    axes.annotate(
        words,
        (x, y),
        (8, -14 if words == "blind" else 8),
        textcoords="offset points",
        size=9,
        color=plots.INK["light"],
    )


def _cases(table: pd.DataFrame) -> None:
    with st.expander("Every case, with its reference label"):
        columns = [
            "position", "path", "label", "subtype", "first_answer", "first_confidence",
            "second_answer", "second_confidence", "probability", "rating", "flagged", "skipped",
            "comment",
        ]  # fmt: skip
        show_table(
            table[columns],
            "cases",
            "Every case of the session",
            csv=table,
            columns={"probability": st.column_config.NumberColumn("model", format="percent")},
        )

"""What a session came to."""

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cxrlib import plots, reviews, runs
from cxrlib.data import dataset
from cxrlib.evaluation.run_on_split import Curves, Measured
from cxrlib.formatting import decimal, percent, rate
from cxrlib.images.radiograph import RadiographError
from cxrlib.labels import NORMAL
from cxrlib.metrics import to_columns, verdict
from cxrlib.reviews import Reading, Session, SessionResult
from cxrlib.reviews.agreement import KAPPA_DIGITS, Accuracy, Agreement
from pages.review_parts import cases
from pages.review_parts.parts import delete_button, go_to, list_title, store
from pages.review_parts.start import model_of
from pages.shared import image_dialog, thumbnails, viewer
from pages.shared.data_folder import folder_in_use
from pages.shared.downloadable import show_figure, show_table
from pages.shared.text import plain
from pages.shared.thumbnails import Thumbnail
from pages.shared.viewer import encoding

_CHOSEN_BY_MODEL = ("hardest", "errors", "uncertain")
_MOST_THUMBNAILS = 24
_COLUMNS = {
    "position": "Case",
    "path": "File",
    "label": "Reference label",
    "subtype": "Subtype",
    "first_answer": "Blind answer",
    "first_confidence": "Confidence, blind",
    "second_answer": "Answer after the model",
    "second_confidence": "Confidence, after",
    "probability": "Model",
    "rating": "Heatmap at the finding",
    "flagged": "Flagged",
    "skipped": "Skipped",
    "comment": "Comment",
    "effect": "Change",
}


def show(session: Session) -> None:
    """Numbers, cases that differ, the ROC curve and every case; only once the session is over."""
    table = reviews.export(store(), uid=session.uid)
    found = reviews.session_result(table)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.header(f"{plain(session.reader.name)}: {plain(list_title(session))}", anchor=False)
        st.space("stretch")
        st.button("All sessions", icon=":material/arrow_back:", on_click=go_to, args=(None,))
        delete_button(session)
    st.caption(
        f"{found.read} read, {found.skipped} skipped, {found.flagged} flagged for a second "
        f"opinion. Model: the run {plain(session.run)} at the threshold "
        f"{rate(session.threshold)}."
    )
    if not found.read:
        st.info("No case was completed, so there is nothing to compare.")
        return
    if session.source == "practice":
        st.info(
            "A synthetic practice list: these figures show how the page works, and say nothing "
            "about you or the model.",
            icon=":material/science:",
        )
    _headline(found)
    _show_differing(session, found)
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
        _metric("You and the model, blind", found.agreement_before)
        _metric("You and the model, after", found.agreement_after)
        st.metric("Changed to right", int(effects.get("better", 0)), width="content")
        st.metric("Changed to wrong", int(effects.get("worse", 0)), width="content")
        st.metric(
            "Time per case, blind",
            f"{found.seconds:.0f} s",
            f"{found.seconds_after:.0f} s with the model",
            delta_color="off",
            delta_arrow="off",
            width="content",
            help="Median, counted while the case was open in the visit in which you answered.",
        )


def _metric(title: str, found: Agreement) -> None:
    agree, _, kappa = str(found).partition(" (")
    st.metric(
        title,
        agree,
        kappa.rstrip(")"),
        delta_color="off",
        delta_arrow="off",
        width="content",
        help="κ is Cohen's kappa: 0 is agreement by chance, 1 full agreement "
        f"(95 % interval: {decimal(found.kappa, KAPPA_DIGITS)}). *Cannot tell* and the model's "
        "*uncertain* count as a third answer.",
    )


# --- the cases that differ ------------------------------------------------------------------------


def _show_differing(session: Session, found: SessionResult) -> None:
    positions = set(found.differing.position)
    readings = [reading for reading in session.readings if reading.position in positions]
    if not readings:
        st.caption("You, the model and the reference labels agree on every case.")
        return
    st.markdown("**Cases on which you, the model and the reference label differ**")
    thumbnails.show(
        [_thumbnail(session, reading) for reading in readings[:_MOST_THUMBNAILS]],
        _open,
        key="differing",
        label="Cases that differ",
        layout="grid",
    )
    more = f" {len(readings)} in all; the table has the others."
    st.caption(
        "Left: reference label. Right: model. Below: your answer after the model. Select one to "
        f"enlarge it.{more if len(readings) > _MOST_THUMBNAILS else ''}"
    )
    asked = st.query_params.get("case")
    shown = next((reading for reading in readings if str(reading.position) == asked), None)
    if shown:
        image_dialog.show(
            f"Case {shown.position}",
            parameter="case",
            shown=str(shown.position),
            neighbours=[str(reading.position) for reading in readings],
            image=lambda step: _show_large(session, shown, step),
            facts=lambda: _show_facts(session, shown),
        )


def _thumbnail(session: Session, reading: Reading) -> Thumbnail:
    model = percent(reading.probability) if reading.probability is not None else ""
    return Thumbnail(
        str(reading.position),
        f"Case {reading.position}: you {reading.second_answer}, model {model or 'unknown'}, "
        f"reference label {reading.label.lower() or 'unknown'}",
        cases.thumbnail(session.source, reading.path, folder_in_use()),
        instead="Cannot be opened",
        caption=f"{reading.position}: {reading.second_answer}",
        badge=reading.label.lower(),
        mark=model,
    )


def _open(position: str) -> None:
    st.query_params.case = position


def _show_large(session: Session, reading: Reading, step: Callable[[int], None]) -> None:
    try:
        radiograph = cases.open_case(session.source, reading.path, folder_in_use())
    except (RadiographError, dataset.DatasetError, OSError) as error:
        st.error(plain(error), icon=":material/broken_image:")
        return
    overlays, contours = [], []
    try:
        prediction, explanations = cases.explained(session, reading, radiograph.pixels)
    except (runs.RunError, OSError) as error:
        st.warning(plain(error))
    else:
        overlays = encoding.overlays_of(prediction, explanations)
        contours = encoding.outlines(prediction.lungs)
    viewer.show(
        cases.encoded(reading.case_key, radiograph.pixels),
        f"{session.uid[:8]}-{reading.position}-result",
        title=f"Radiograph of case {reading.position}",
        file_stem=f"case-{reading.position}",
        overlays=overlays,
        contours=contours,
        on_step=step,
    )


def _show_facts(session: Session, reading: Reading) -> None:
    if reading.label:
        subtype = f" ({reading.subtype})" if reading.subtype else ""
        st.markdown(f"Reference label: **{reading.label.lower()}**{subtype}")
    if reading.probability is not None:
        called = verdict(reading.probability, session.operating_point)
        mark, words = plots.VERDICTS[called]
        outcome = ""
        if reading.label and called != "uncertain":
            is_right = (called == "likely") == (reading.label != NORMAL)
            outcome = ": right" if is_right else ": wrong"
        st.markdown(f"Model: **{mark} {words}, {percent(reading.probability)}**{outcome}")
    blind = cases.answer_in_words(reading.first_answer, reading.first_confidence)
    after = cases.answer_in_words(reading.second_answer, reading.second_confidence)
    st.markdown(f"You, blind: **{blind}**")
    st.markdown(f"You, after the model: **{after}**")
    if reading.comment:
        st.markdown(f"Comment: {plain(reading.comment)}")


# --- figures and tables ---------------------------------------------------------------------------


def _numbers(session: Session, found: SessionResult) -> None:
    rows = {
        "You, blind": found.before,
        "You, after the model": found.after,
        "Model": found.model,
    }
    shown = pd.DataFrame(
        {
            "Reader": list(rows),
            "Sensitivity": [rate(row.sensitivity) for row in rows.values()],
            "Specificity": [rate(row.specificity) for row in rows.values()],
        }
    )
    st.markdown("**Accuracy**")
    numbers = pd.DataFrame(
        {
            "reader": name,
            **to_columns("sensitivity", row.sensitivity),
            **to_columns("specificity", row.specificity),
        }
        for name, row in rows.items()
    )
    show_table(shown, "session", "Sensitivity and specificity with 95 % intervals", csv=numbers)
    chosen = (
        " The list was chosen by the model's own scores, so its figures here are not typical."
        if session.strategy in _CHOSEN_BY_MODEL
        else ""
    )
    if session.split == "validation":
        chosen += (
            " The model's threshold was chosen on the validation images, which include these: its "
            "figures are somewhat optimistic."
        )
    st.caption(
        "On the cases with a reference label, with 95 % intervals. *Cannot tell* counts as wrong. "
        f"With few cases the intervals are wide.{chosen}"
    )


def _changed(found: SessionResult) -> None:
    st.markdown("**Changed answers**")
    if found.changed.empty:
        st.caption("You changed no answer after the model.")
        return
    changed = found.changed.assign(
        effect=found.changed.effect.map({"better": "to right", "worse": "to wrong"}).fillna("")
    )
    _show_table(
        changed,
        ["position", "first_answer", "second_answer", "label", "probability", "effect"],
        "changed",
        "Cases whose answer was changed",
    )


def _roc(session: Session, found: SessionResult) -> None:
    if session.source != "run":
        st.caption("The run's ROC curve is not shown: it was measured on other images.")
        return
    st.markdown("**On the run's ROC curve**")
    try:
        figure = _roc_with_reader(Measured(model_of(session), session.split), session.point, found)
    except (runs.RunError, OSError) as error:
        st.warning(plain(error))
        return
    show_figure(figure, "reader-roc", "ROC curve of the run with the reader as points on it")
    st.caption(
        f"Curve: the run on all its {session.split} images, dot: its operating point. Diamond: "
        "you, blind; square: after the model, each with 95 % intervals. Above the curve, you are "
        "more sensitive than the model at your specificity, if the list was random."
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
    with st.expander("Table of all cases", icon=":material/table:"):
        _show_table(table, [name for name in _COLUMNS if name in table], "cases", "Every case")


def _show_table(table: pd.DataFrame, names: Sequence[str], stem: str, alt: str) -> None:
    shown = table[list(names)].assign(label=table.label.str.lower()).rename(columns=_COLUMNS)
    show_table(shown, stem, alt, csv=table, formats={_COLUMNS["probability"]: percent})

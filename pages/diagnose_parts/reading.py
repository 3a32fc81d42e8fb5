"""What is shown of images once there are any: the viewer, the verdict, how far to trust it."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import plots, runs, tables
from cxrlib.evaluation import model_card
from cxrlib.inference import pdf_report
from cxrlib.inference.methods import METHODS
from pages.diagnose_parts import cases
from pages.diagnose_parts.cases import Case, judged
from pages.shared import thumbnails, viewer
from pages.shared.heat_in_lungs import share_in_words, share_warning
from pages.shared.loaded_models import classifier_of
from pages.shared.text import file_stem, plain
from pages.shared.thumbnails import Thumbnail

if TYPE_CHECKING:
    import pandas as pd

    from cxrlib.inference.classifier import Classifier, Prediction
    from cxrlib.inference.explain import Explanation

ANOTHER_RUN = "Choose another run, or restore this one's folder."
ORDERS = {"dropped": "As dropped", "suspicion": "Most suspicious first"}
_REPORTED = 2  # heatmaps in the PDF


class Layout:
    """The page's parts: the radiograph, large, and beside it the verdict; both above the fold."""

    def __init__(self) -> None:
        left, right = st.columns([5, 2], gap="medium")
        with left:
            self.image = st.container()
            self.strip = st.container()
        with right:
            self.verdict = st.container(key="verdict")
            self.intake = st.container()


def show_files(files: list[Case], layout: Layout) -> None:
    """Read what is new, and show the chosen one; of several a strip of all."""
    with layout.verdict:
        st.title("Diagnose", anchor=False)
    reader = classifier()
    point = st.session_state.point
    with layout.image:
        cases.read_all(files, reader)
    if len(files) == 1:
        show_case(files[0], layout)
        return
    with layout.strip:
        order = st.segmented_control(
            "Order",
            list(ORDERS),
            default="dropped",
            required=True,
            format_func=ORDERS.__getitem__,
            key="order",
            label_visibility="collapsed",
        )
        if order == "suspicion":
            files = sorted(files, key=lambda case: _suspicion(case, reader, point))
        shown = next((case for case in files if case.id == st.session_state.shown), files[0])
        thumbnails.show(
            [
                _in_strip(case, number, reader, point, current=case is shown)
                for number, case in enumerate(files, start=1)
            ],
            lambda number: st.session_state.update(shown=number),
            key="files",
            label="Files",
        )
        _show_table(files, reader, point)
    show_case(shown, layout, on_step=partial(_step, [case.id for case in files], shown.id))
    for case in files:
        if case is not shown:
            case.put_away()


def _suspicion(case: Case, reader: "Classifier", point: str) -> float:
    """Sorts the most suspicious first, what has no verdict last."""
    if case.error or judged(case, reader, point).refused:
        return 1.0
    return -judged(case, reader, point).probability


def _step(order: list[str], shown: str, by: int) -> None:
    st.session_state.shown = order[(order.index(shown) + by) % len(order)]


def _in_strip(
    case: Case, number: int, reader: "Classifier", point: str, *, current: bool
) -> Thumbnail:
    mark, words = "⊘", "Cannot be opened"
    if not case.error:
        prediction = judged(case, reader, point)
        mark, words = plots.REFUSED
        if not prediction.refused:
            mark, words = plots.VERDICTS[prediction.verdict]
            mark = f"{mark} {plots.percent(prediction.probability)}"
    earlier = "earlier" if case.earlier else ""
    return Thumbnail(
        case.id,
        ", ".join(filter(None, [f"{number}: {case.name}", words, earlier])),
        case.thumbnail,
        instead="Cannot be opened",
        caption=case.name,
        badge=earlier,
        mark=mark,
        current=current,
    )


def _show_table(files: list[Case], reader: "Classifier", point: str) -> None:
    import pandas as pd

    rows = []
    for case in files:
        row: dict[str, object] = {"file": case.name, "verdict": "not opened", "probability": None}
        row["remark"] = case.error
        if not case.error:
            prediction = judged(case, reader, point)
            row |= {
                "verdict": "rejected" if prediction.refused else prediction.verdict,
                "probability": None if prediction.refused else prediction.probability,
                "remark": " ".join(filter(None, [prediction.reason, *case.warnings])),
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    with st.expander("Table of all files", icon=":material/table:"):
        st.dataframe(
            table.assign(probability=table.probability * 100),
            hide_index=True,
            column_config={
                "probability": st.column_config.ProgressColumn(
                    format="%.0f %%", min_value=0, max_value=100
                )
            },
            alt="Verdict and probability of each file",
        )
        st.download_button(
            "Table as CSV",
            tables.to_csv(_record(table, reader, point)),
            "readings.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )


def _record(table: "pd.DataFrame", reader: "Classifier", point: str) -> "pd.DataFrame":
    return table.assign(
        operating_point=point, threshold=reader.points[point].threshold, run=reader.run.name
    )


def classifier() -> "Classifier":
    """The classifier of the run in use; the page ends with the reason where there is none."""
    if "run" not in st.session_state:
        st.info("There is no finished run in `models/`. Train one with `python train.py`.")
        st.stop()
    try:
        return classifier_of(runs.find(st.session_state.run))
    except runs.RunError as error:
        st.error(f"{error} {ANOTHER_RUN}")
        st.stop()


def show_case(case: Case, layout: Layout, on_step: "partial | None" = None) -> None:
    """One image: in the viewer, with its verdict beside it."""
    if case.error:
        with layout.image:
            st.error(plain(case.error), icon=":material/broken_image:")
        with layout.verdict:
            st.markdown(f"**{plain(case.name)}**")
            st.markdown("### ⊘ Cannot be opened")
        return
    reader = classifier()
    cases.read_all([case], reader)
    prediction = judged(case, reader, st.session_state.point)
    explanations = [] if prediction.refused else cases.explained(case, reader)
    overlays = viewer.overlays_of(
        [(found, _about(prediction, found)) for found in explanations], prediction.lungs
    )
    with layout.image:
        if case.note:
            st.caption(f":material/draw: {case.note}")
        viewer.show(
            case.image,
            case.id,
            title=f"Radiograph {case.name}",
            file_stem=file_stem(case.name),
            overlays=[] if prediction.refused else overlays,
            lungs=prediction.lungs,
            chosen=METHODS[method].title if (method := st.session_state.get("method")) else "",
            on_step=on_step,
        )
    with layout.verdict:
        st.markdown(f"**{plain(case.name)}**" + (" (earlier)" if case.earlier else ""))
        if prediction.refused or prediction.insisted:
            _show_rejected(case, prediction)
        else:
            _show_verdict(case, prediction)
            _show_trust(reader, prediction)
        for warning in case.warnings:
            st.warning(plain(warning))
        if not prediction.refused:
            _show_more(case, reader, prediction, explanations)


def _show_rejected(case: Case, prediction: "Prediction") -> None:
    mark, words = plots.REFUSED
    st.markdown(f"### {mark} {words}")
    st.markdown(plain(prediction.reason))
    if prediction.insisted:
        st.markdown(
            f"The model's output is {plots.percent(prediction.probability)}. For an image like "
            "this it has no meaning, so there is no verdict."
        )
    elif st.button("Analyze anyway", icon=":material/visibility:"):
        case.insisted = True
        st.rerun()


def _show_verdict(case: Case, prediction: "Prediction") -> None:
    mark, words = plots.VERDICTS[prediction.verdict]
    point = prediction.point
    st.markdown(f"### {mark} {words}, {plots.percent(prediction.probability)}")
    st.html(plots.verdict_bar(prediction.probability, point))
    hatched = " Hatched: too close to the threshold to call." if point.low < point.high else ""
    st.caption(
        f"Calibrated probability of pneumonia. Line: threshold, {plots.percent(point.threshold)}."
        f"{hatched}"
    )
    if case.label:
        positive = case.label != "NORMAL"
        called = {"likely": True, "unlikely": False, "uncertain": None}[prediction.verdict]
        outcome = (
            "the model cannot tell"
            if called is None
            else f"the model is {'right' if called == positive else 'wrong'}"
        )
        st.markdown(f"Reference label: **{case.label.lower()}**; {outcome}.")


def _show_trust(reader: "Classifier", prediction: "Prediction") -> None:
    lines = model_card.trust_lines(
        reader.run.metrics,
        prediction.point.name,
        prediction.probability,
        prevalence=st.session_state.get("prevalence", 10) / 100,
    )
    st.markdown("\n".join(f"- {line}" for line in lines))


def _about(prediction: "Prediction", explanation: "Explanation") -> str:
    """What a heatmap shows, and how much of it lies inside the lungs."""
    method = METHODS[explanation.method]
    share = share_in_words(prediction, explanation)
    return f"{method.shows} {method.limits} {share}".strip()


def _show_more(
    case: Case,
    reader: "Classifier",
    prediction: "Prediction",
    explanations: list["Explanation"],
) -> None:
    with st.expander("More"):
        st.slider(
            "Patients with pneumonia where you work",
            1,
            99,
            10,
            format="%d %%",
            key="prevalence",
            bind="query-params",
            persist_state="session",
        )
        there = {found.method for found in explanations}
        st.selectbox(
            "Another heatmap",
            [name for name in METHODS if name not in there or METHODS[name].slow],
            index=None,
            format_func=lambda name: METHODS[name].title,
            key="method",
            bind="query-params",
            placeholder="Choose a method",
            help="Computed when chosen, which takes up to a few seconds.",
        )
        _compute_heatmap(case, reader)
        if len(prediction.classes) > 2:
            st.caption(
                " · ".join(
                    f"{name.lower()} {plots.percent(value)}"
                    for name, value in prediction.classes.items()
                )
            )
        st.caption(
            f"{case.description}. Read by the run {plain(reader.run.name)}. "
            + model_card.trust_statement(
                reader.run.metrics, prediction.point.name, prediction.probability
            )
            + " Not every image that is no frontal chest X-ray is rejected. A heatmap shows what "
            "the model used, not where the disease is."
        )
    if not prediction.insisted:
        st.download_button(
            "Report as PDF",
            lambda: _report(case, reader, prediction, explanations),
            f"{file_stem(case.name)}-report.pdf",
            "application/pdf",
            icon=":material/picture_as_pdf:",
            on_click="ignore",
            width="stretch",
        )


def _compute_heatmap(case: Case, reader: "Classifier") -> None:
    """Compute the method that was chosen, unless it is there already."""
    method = st.session_state.method
    if method is None or any(key[1] == method for key in case.explanations):
        return
    with st.spinner(f"Computing {METHODS[method].title}"):
        cases.explain_with(case, reader, method)
    st.rerun()  # the viewer stands above


def _report(
    case: Case,
    reader: "Classifier",
    prediction: "Prediction",
    explanations: list["Explanation"],
) -> bytes:
    pixels = plots.for_overlay(case.radiograph.pixels)
    chosen = explanations[:_REPORTED]
    warnings = [
        prediction.reason,
        case.note,
        *case.warnings,
        *(share_warning(prediction, found) for found in chosen),
    ]
    overlays = {}
    for found in chosen:
        drawn = plots.overlay(pixels, found.on(pixels.shape))
        overlays[found.method] = plots.outlined(drawn, prediction.lungs.contours(pixels.shape))
    return pdf_report.pdf(
        case.name,
        pixels,
        overlays,
        prediction,
        trust=model_card.trust_statement(
            reader.run.metrics, prediction.point.name, prediction.probability
        ),
        warnings=[warning for warning in warnings if warning],
    )

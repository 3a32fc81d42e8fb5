"""What is shown of images once there are any: the viewer, the verdict, how far to trust it."""

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import plots, runs, tables
from cxrlib.evaluation import trust
from cxrlib.formatting import percent, rate
from cxrlib.inference.methods import METHODS
from cxrlib.labels import NORMAL
from pages.diagnose_parts import cases
from pages.diagnose_parts.cases import Case, judged
from pages.diagnose_parts.layout import Layout
from pages.diagnose_parts.panel import Panel
from pages.shared import thumbnails, viewer
from pages.shared.heat_in_lungs import share_warning
from pages.shared.loaded_models import classifier_of
from pages.shared.text import file_stem, plain
from pages.shared.thumbnails import Thumbnail
from pages.shared.viewer import encoding

if TYPE_CHECKING:
    import pandas as pd

    from cxrlib.inference.classifier import Prediction
    from cxrlib.inference.ensemble import Reader
    from cxrlib.inference.explain import Explanation

ANOTHER_RUN = "Choose another run, or restore this one's folder."
ORDERS = {"dropped": "As dropped", "suspicion": "Most suspicious first"}
PREVALENCE = 10  # percent with pneumonia among a reader's patients, unless they say otherwise
_REPORTED = 2  # heatmaps in the PDF
_GRID = (256, 256)  # fine enough for shares of a heatmap


def show_files(files: list[Case], layout: Layout) -> None:
    """Read what is new, and show the chosen one; of several a strip of all."""
    with layout.headline:
        st.title("Diagnose", anchor=False)
    if not all(map(cases.is_read, files)):
        layout.hide_verdict()
    reader = classifier()
    point = st.session_state.point
    if len(files) == 1:
        show_case(files[0], layout)
        return
    with layout.image:
        cases.read_all(files, reader)
    with layout.strip:
        strip = st.container()
        order = st.segmented_control(
            "Order",
            list(ORDERS),
            default="dropped",
            required=True,
            format_func=ORDERS.__getitem__,
            key="order",
            persist_state="session",
            label_visibility="collapsed",
        )
    if order == "suspicion":
        files = sorted(files, key=lambda case: _suspicion(case, reader, point))
    with strip:
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
    with layout.strip:
        _show_table(files, reader, point)
    show_case(shown, layout, on_step=partial(_step, [case.id for case in files], shown.id))
    for case in files:
        if case is not shown:
            case.put_away()


def _suspicion(case: Case, reader: "Reader", point: str) -> float:
    """Sorts the most suspicious first, what has no verdict last."""
    if case.error or judged(case, reader, point).reason:
        return 1.0
    return -judged(case, reader, point).probability


def _step(order: list[str], shown: str, by: int) -> None:
    st.session_state.shown = order[(order.index(shown) + by) % len(order)]


def _in_strip(case: Case, number: int, reader: "Reader", point: str, *, current: bool) -> Thumbnail:
    mark, words = "⊘", "Cannot be opened"
    if not case.error:
        prediction = judged(case, reader, point)
        mark, words = plots.REFUSED
        if not prediction.reason:
            mark, words = plots.VERDICTS[prediction.verdict]
            mark = f"{mark} {percent(prediction.probability)}"
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


def _show_table(files: list[Case], reader: "Reader", point: str) -> None:
    # Who does not open it holds no pandas: 70 MB of a small server.
    table = st.expander(
        "Table of all files", icon=":material/table:", key="table", on_change="rerun"
    )
    if table.open:
        with table:
            _fill_table(files, reader, point)


def _fill_table(files: list[Case], reader: "Reader", point: str) -> None:
    import pandas as pd

    rows = []
    for case in files:
        row: dict[str, object] = {"file": case.name, "verdict": "not opened", "probability": None}
        row["remark"] = case.error
        if not case.error:
            prediction = judged(case, reader, point)
            row |= {
                "verdict": "rejected" if prediction.reason else prediction.verdict,
                "probability": None if prediction.reason else prediction.probability,
                "remark": " ".join(filter(None, [prediction.reason, *case.warnings])),
            }
        rows.append(row)
    table = pd.DataFrame(rows)
    st.dataframe(
        table.style.format({"probability": percent}, na_rep=""),
        hide_index=True,
        placeholder="",
        column_config={name: name.capitalize() for name in table},
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


def _record(table: "pd.DataFrame", reader: "Reader", point: str) -> "pd.DataFrame":
    return table.assign(
        operating_point=point, threshold=reader.points[point].threshold, run=reader.run.name
    )


def classifier() -> "Reader":
    """The classifier of the run in use; the page ends with the reason where there is none."""
    if "run" not in st.session_state:
        st.info("There is no finished run in `models/`. Train one with `python train.py`.")
        st.stop()
    try:
        return classifier_of(runs.find(st.session_state.run))
    except runs.RunError as error:
        st.error(f"{error} {ANOTHER_RUN}")
        st.stop()


def show_case(
    case: Case,
    layout: Layout,
    on_step: "partial[None] | None" = None,
) -> None:
    """One image: in the viewer, with its verdict.

    Args:
        case: the image.
        layout: of the page.
        on_step: as `viewer.show` takes it.
    """
    note = " (earlier)" if case.earlier else ""
    if case.error:
        with layout.image:
            st.error(plain(case.error), icon=":material/broken_image:")
        with layout.headline:
            st.markdown(f"**{plain(case.name)}**{note}")
            st.header("⊘ Cannot be opened", anchor=False)
        layout.show_verdict()
        return
    reader = classifier()
    explanations = cases.explained(case, reader)
    prediction = judged(case, reader, st.session_state.point)
    with layout.image:
        viewer.show(
            case.image,
            case.id,
            title=f"Radiograph {case.name}",
            file_stem=file_stem(case.name),
            overlays=[] if prediction.refused else encoding.overlays_of(prediction, explanations),
            contours=[] if prediction.refused else encoding.outlines(prediction.lungs),
            chosen=METHODS[method].title if (method := st.session_state.get("method")) else "",
            on_step=on_step,
        )
    panel = None
    with layout.headline:
        if prediction.reason:
            st.markdown(f"**{plain(case.name)}**{note}")
            _show_rejected(case, prediction)
        else:
            prevalence = st.session_state.get("prevalence", PREVALENCE)
            panel = panel_of(prediction, reader.run, case.label, prevalence)
            panel.show_headline(case.name, note)
    with layout.details:
        if case.note:
            st.caption(f":material/draw: {case.note}")
        for warning in case.warnings:
            st.warning(plain(warning))
        if panel:
            panel.show_trust()
        if not prediction.refused:
            _show_more(case, reader, prediction, explanations)
    layout.show_verdict()
    if not prediction.refused:
        # Last, so that everything else is there while it takes its time.
        with layout.image:
            _compute_heatmap(case, reader, explanations)


def _show_rejected(case: Case, prediction: "Prediction") -> None:
    mark, words = plots.REFUSED
    st.header(f"{mark} {'No verdict' if prediction.insisted else words}", anchor=False)
    st.markdown(plain(prediction.reason))
    if prediction.insisted:
        st.markdown(
            f"The model's output is {percent(prediction.probability)}. For an image like "
            "this it has no meaning, so there is no verdict."
        )
    elif st.button("Analyze anyway", icon=":material/visibility:"):
        case.insisted = True
        st.rerun()


def panel_of(prediction: "Prediction", run: runs.Run, label: str, prevalence: int) -> Panel:
    """The verdict on an image in words.

    Args:
        prediction: of an image that was not rejected.
        run: the run that made it.
        label: the reference label; empty where nobody knows.
        prevalence: of pneumonia among the reader's own patients, in percent.
    """
    mark, words = plots.VERDICTS[prediction.verdict]
    point = prediction.point
    hatched = " Hatched: too close to the threshold to call." if point.low < point.high else ""
    reference = ""
    if label:
        called = {"likely": True, "unlikely": False}.get(prediction.verdict)
        right = "right" if called == (label != NORMAL) else "wrong"
        outcome = "the model cannot tell" if called is None else f"the model is {right}"
        reference = f"Reference label: **{label.lower()}**; {outcome}."
    return Panel(
        heading=f"{mark} {words}, {percent(prediction.probability)}",
        bar=plots.verdict_bar(prediction.probability, point),
        caption="Calibrated probability of pneumonia. Line: threshold, "
        f"{rate(point.threshold)}.{hatched}",
        reference=reference,
        trust=trust.lines(
            run.metrics, point.name, prediction.probability, prevalence=prevalence / 100
        ),
        run=run.name,
    )


def _show_more(
    case: Case,
    reader: "Reader",
    prediction: "Prediction",
    explanations: list["Explanation"],
) -> None:
    with st.expander("More"):
        st.slider(
            "Prevalence of pneumonia among your patients",
            1,
            99,
            PREVALENCE,
            format="%d %%",
            key="prevalence",
            bind="query-params",
            persist_state="session",
        )
        there = {found.method for found in explanations}
        st.selectbox(
            "Another heatmap",
            [name for name in reader.methods if name not in there or METHODS[name].slow],
            index=None,
            format_func=lambda name: METHODS[name].title,
            key="method",
            bind="query-params",
            placeholder="Choose a method",
            help="Computed when you choose it. Methods that need many passes take some seconds and "
            "can be stopped.",
        )
        if len(prediction.classes) > 2:
            st.caption(
                " · ".join(
                    f"{name.lower()} {percent(value)}" for name, value in prediction.classes.items()
                )
            )
        stated = trust.statement(reader.run.metrics, prediction.point.name, prediction.probability)
        st.caption(
            f"{case.description}.\n\n{stated}\n\nMost images that are not frontal chest X-rays are "
            "rejected, but not all. A heatmap shows what the model used, not where the disease is."
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


def _compute_heatmap(case: Case, reader: "Reader", explanations: list["Explanation"]) -> None:
    """Compute the method that was chosen, unless it is there already, and show it."""
    method = st.session_state.get("method")
    if method not in reader.methods or any(found.method == method for found in explanations):
        return
    title = METHODS[method].title
    with st.container(horizontal=True, vertical_alignment="center", key="computing"):
        bar = st.progress(0.0, f"Computing {title}")
        st.button("Stop", icon=":material/stop_circle:", on_click=_stop)

    def tell(share: float) -> None:
        # Here Streamlit ends this script where something was pressed meanwhile.
        bar.progress(share, f"Computing {title}: {percent(share)}")

    cases.explain_with(case, reader, method, tell)
    st.rerun()  # the viewer stands above


def _stop() -> None:
    st.session_state.method = None


def _report(
    case: Case,
    reader: "Reader",
    prediction: "Prediction",
    explanations: list["Explanation"],
) -> bytes:
    from cxrlib.inference import pdf_report  # draws with matplotlib, for which no reading waits

    pixels = plots.for_overlay(case.radiograph.pixels)
    chosen = explanations[:_REPORTED]
    warnings = [
        prediction.reason,
        case.note,
        *case.warnings,
        *(
            share_warning(prediction, found.on(_GRID), f"{METHODS[found.method].title}'s heat")
            for found in chosen
            if prediction.lungs.found and found.values.any()
        ),
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
        trust=trust.statement(reader.run.metrics, prediction.point.name, prediction.probability),
        warnings=[warning for warning in warnings if warning],
    )

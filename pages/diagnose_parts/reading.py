"""What is shown of pictures once there are any: verdict, heatmaps, trust, files to take along."""

import io
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from cxrlib import plots, runs
from cxrlib.evaluation import model_card
from cxrlib.inference import pdf_report
from cxrlib.inference.methods import METHODS
from cxrlib.runs.operating_points import POINT_TITLES
from pages.diagnose_parts.cases import Case, explained, judged, put_away, read_all, show_queue
from pages.diagnose_parts.pictures import Display, display_controls, show_pictures
from pages.shared.heat_in_lungs import share_warning
from pages.shared.loaded_models import classifier_of
from pages.shared.text import file_stem

if TYPE_CHECKING:
    from cxrlib.inference.classifier import Classifier, Prediction

ANOTHER_RUN = "Choose another run, or restore this one's folder."


def show(cases: list[Case]) -> None:
    """Read what is new, then show one picture, and of several the table of all."""
    reader = classifier()
    point = st.session_state.point
    read_all(cases, reader)
    shown = show_queue(cases, reader, point) if len(cases) > 1 else cases[0]
    put_away(case for case in cases if case is not shown)
    show_case(shown, reader, point)


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


def show_case(case: Case, reader: "Classifier", point: str) -> None:
    if case.error:
        st.error(case.error, icon=":material/broken_image:")
        return
    if case.note:
        st.info(case.note, icon=":material/science:")
    for warning in case.warnings:
        st.warning(warning)
    prediction = judged(case, reader, point)
    if prediction.refused:
        show_refusal(case, prediction)
        return
    if prediction.insisted:
        st.warning(
            f"**Read because you insisted.** {prediction.reason} The probability may mean nothing."
        )
    show_verdict(prediction)
    pictures = st.container()
    display = display_controls()
    with pictures:
        view, methods = show_pictures(case, reader, prediction, display)
    show_trust(reader, prediction)
    show_downloads(case, reader, prediction, display, view, methods)


def show_refusal(case: Case, prediction: "Prediction") -> None:
    mark, words = plots.REFUSED
    picture, why = st.columns([2, 3], gap="large")
    with picture:
        st.image(
            plots.jpeg(plots.for_screen(case.picture.pixels)), width="stretch", alt="The picture"
        )
    with why:
        st.header(f"{mark}  {words}", anchor=False)
        st.markdown(
            f"{prediction.reason} A number for it would most likely mean nothing, so none is given."
        )
        if st.button("Read it all the same", icon=":material/visibility:"):
            case.insisted = True
            st.rerun()


def show_verdict(prediction: "Prediction") -> None:
    mark, words = plots.VERDICTS[prediction.verdict]
    point = prediction.point
    heading, bar = st.columns([2, 3], vertical_alignment="center", gap="large")
    with heading:
        st.header(f"{mark}  {words}", anchor=False)
        st.markdown(
            f"Probability of pneumonia **{plots.percent(prediction.probability)}**, held against "
            f"the operating point at {plots.percent(point.threshold)} "
            f"({POINT_TITLES[point.name]})."
        )
        if len(prediction.classes) > 2:
            st.caption(
                " · ".join(
                    f"{name.lower()} {plots.percent(value)}"
                    for name, value in prediction.classes.items()
                )
            )
    with bar:
        st.html(plots.verdict_bar(prediction.probability, point))
        st.caption(
            "Line: operating point. Hatched: where the probability cannot be told from it. "
            "Dot: this picture."
        )


def trust(reader: "Classifier", prediction: "Prediction") -> str:
    return model_card.trust_statement(
        reader.run.metrics, prediction.point.name, prediction.probability
    )


def show_trust(reader: "Classifier", prediction: "Prediction") -> None:
    with st.container(border=True):
        st.markdown("**How far to trust this**")
        st.markdown(trust(reader, prediction))
        st.markdown(
            "Pictures that do not look like frontal chest radiographs are turned away, but not all "
            "of them are noticed. A heatmap shows what the network used, not where the disease is. "
            "For education and research, not for diagnosis."
        )
        st.caption(f"Read by the run {reader.run.name}.")


def show_downloads(
    case: Case,
    reader: "Classifier",
    prediction: "Prediction",
    display: Display,
    view: str,
    methods: list[str],
) -> None:
    stem = file_stem(case.name)
    explanations = {method: explained(case, reader, method) for method in methods}

    # Made when the button is pressed, at the radiograph's full size.
    def overlay_png() -> bytes:
        shown = display.apply(case.picture.pixels, view)
        file = io.BytesIO()
        picture = Image.fromarray(
            display.overlay(shown, explanations[methods[0]].heatmap, prediction.lungs)
        )
        picture.save(file, "PNG")
        return file.getvalue()

    def report_pdf() -> bytes:
        shown = display.apply(plots.for_overlay(case.picture.pixels), view)
        heatmaps = {method: found.on(shown.shape) for method, found in explanations.items()}
        shares = [
            share_warning(prediction, heatmap, f"{METHODS[method].title}'s heat")
            for method, heatmap in heatmaps.items()
            if prediction.lungs.found and heatmap.any()
        ]
        said = [prediction.reason, case.note, *case.warnings, *shares, display.words(view)]
        return pdf_report.pdf(
            case.name,
            shown,
            {
                method: display.overlay(shown, heatmap, prediction.lungs)
                for method, heatmap in heatmaps.items()
            },
            prediction,
            trust=trust(reader, prediction),
            warnings=[sentence for sentence in said if sentence],
        )

    overlay, page, _ = st.columns([1, 1, 2])
    overlay.download_button(
        f"{METHODS[methods[0]].title} overlay as PNG",
        overlay_png,
        f"{stem}-{methods[0]}.png",
        "image/png",
        icon=":material/image:",
        on_click="ignore",
        width="stretch",
    )
    page.download_button(
        "Report as PDF",
        report_pdf,
        f"{stem}-report.pdf",
        "application/pdf",
        icon=":material/picture_as_pdf:",
        on_click="ignore",
        width="stretch",
    )

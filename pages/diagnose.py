"""Read X-rays: drop pictures in, get a probability, heatmaps and a report."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from cxrlib import dataset, evaluation, examples, plots, radiograph, report, runs
from cxrlib.methods import METHODS
from cxrlib.pixels import equalize
from cxrlib.radiograph import Radiograph, RadiographError
from pages.common import front_door
from pages.common.networks import classifier_of

if TYPE_CHECKING:
    from cxrlib.classifier import Classifier, Prediction
    from cxrlib.explain import Explanation

ANOTHER_RUN = "Choose another run, or restore this one's folder."


VIEWS = {"none": "As taken", "clahe": "Local contrast (CLAHE)", "histogram": "Equalized histogram"}


@dataclass
class Case:
    """One picture on the page: read, or refused with a reason."""

    name: str
    picture: Radiograph | None = None
    error: str = ""
    note: str = ""
    predictions: dict[str, "Prediction"] = field(default_factory=dict)
    explanations: dict[tuple[str, str], "Explanation"] = field(default_factory=dict)


@dataclass(frozen=True)
class Display:
    """How pictures are shown; the network does not see it."""

    low: int
    high: int
    inverted: bool
    opacity: float
    colours: str

    def apply(self, pixels: np.ndarray, view: str) -> np.ndarray:
        pixels = equalize(pixels, view)
        if (self.low, self.high, self.inverted) == (0, 255, False):
            return pixels
        return radiograph.window(
            pixels,
            center=(self.low + self.high) / 2,
            width=max(self.high - self.low, 1),
            invert=self.inverted,
        )

    def overlay(self, pixels: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
        return plots.overlay(pixels, heatmap, colours=self.colours, opacity=self.opacity)


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


def read_case(name: str, data: bytes) -> Case:
    case = Case(name)
    try:
        case.picture = radiograph.read(data)
    except RadiographError as error:
        case.error = str(error)
    return case


def uploaded_cases() -> list[Case]:
    """Cases of the uploaded files, in their order; what was read before is not read again."""
    files = st.file_uploader(
        "Chest X-rays",
        accept_multiple_files=True,
        key="uploads",
        help="JPEG, PNG, BMP, TIFF, WebP or DICOM, up to 50 MB each. Pictures stay in memory and "
        "are gone when you close the page.",
    )
    known: dict[str, Case] = st.session_state.setdefault("cases", {})
    cases = {}
    for file in files:
        cases[file.file_id] = known.get(file.file_id) or read_case(file.name, file.getvalue())
    st.session_state.cases = cases
    return list(cases.values())


def example_case() -> Case | None:
    """The example that was asked for, if any, with a choice of others."""
    try:
        folder = st.session_state.get("data_folder")
        asked = st.query_params.get("example") or st.session_state.get("example")
        found = examples.all_examples(folder=Path(folder) if folder else None, also=asked)
        choices = {example.title: example for example in found}
    except dataset.DatasetError as error:
        st.error(str(error))
        return None
    title = st.selectbox(
        "Examples",
        list(choices),
        index=None,
        key="example",
        bind="query-params",
        placeholder="No X-ray at hand? Choose one",
        help="Synthetic radiographs are drawn by a program. Those from Kaggle are fetched from "
        "the public data set, which needs a connection.",
    )
    if title is None:
        st.button(
            "Try an example",
            type="primary",
            icon=":material/science:",
            width="stretch",
            on_click=st.session_state.update,
            kwargs={"example": next(iter(choices))},
        )
        return None
    known: Case | None = st.session_state.get("example_case")
    if known is None or known.name != title:
        with st.spinner("Opening the example"):
            known = open_example(choices[title])
        st.session_state.example_case = known
    return known


def open_example(example: examples.Example) -> Case:
    case = Case(example.title)
    try:
        case.picture = example.load()
    except (RadiographError, dataset.DatasetError, OSError) as error:
        case.error = str(error)
    if example.synthetic:
        case.note = (
            "Synthetic radiograph: drawn by a program, not taken of a patient. It shows how the "
            "page works, no more: the network was trained on real pictures only, and this drawing "
            "was chosen because its answer happens to fit."
        )
    return case


def read_all(cases: list[Case], reader: "Classifier") -> None:
    """Predict what the run in use has not seen yet, with progress where it takes a while."""
    todo = [case for case in cases if case.picture and reader.run.name not in case.predictions]
    if not todo:
        return
    with st.spinner("Reading"):
        bar = st.progress(0.0) if len(todo) > 1 else None
        for number, case in enumerate(todo, start=1):
            prediction, explanations = reader.read(case.picture.pixels)
            case.predictions[reader.run.name] = prediction
            for method, explanation in explanations.items():
                case.explanations[reader.run.name, method] = explanation
            if bar:
                bar.progress(number / len(todo), f"Picture {number} of {len(todo)}")
        if bar:
            bar.empty()


def show_queue(cases: list[Case], reader: "Classifier", point: str) -> Case:
    """The table of several files, and which of them is shown below."""
    rows = []
    for case in cases:
        row = {"file": case.name, "verdict": "not read", "probability": None, "remark": case.error}
        if case.picture:
            prediction = judged(case, reader, point)
            row |= {
                "verdict": prediction.verdict,
                "probability": prediction.probability,
                "remark": " ".join(case.picture.warnings),
            }
        rows.append(row)
    table = pd.DataFrame(rows)
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
    record = table.assign(
        operating_point=point, threshold=reader.points[point].threshold, run=reader.run.name
    )
    choose, save = st.columns([4, 1], vertical_alignment="bottom")
    with save:
        st.download_button(
            "Table as CSV",
            record.to_csv(index=False).encode(),
            "readings.csv",
            "text/csv",
            icon=":material/table:",
            on_click="ignore",
            width="stretch",
        )
    with choose:
        number = st.selectbox(
            "Picture shown",
            range(len(cases)),
            format_func=lambda number: f"{number + 1} · {cases[number].name}",
        )
    return cases[number]


def judged(case: Case, reader: "Classifier", point: str) -> "Prediction":
    return case.predictions[reader.run.name].held_against(reader.points[point])


def explained(case: Case, reader: "Classifier", method: str) -> "Explanation":
    key = (reader.run.name, method)
    if key not in case.explanations:
        with st.spinner(f"Computing {METHODS[method].title}"):
            case.explanations[key] = reader.explain(case.picture.pixels, method)
    return case.explanations[key]


def show_case(case: Case, reader: "Classifier", point: str) -> None:
    if case.error:
        st.error(case.error, icon=":material/broken_image:")
        return
    if case.note:
        st.info(case.note, icon=":material/science:")
    for warning in case.picture.warnings:
        st.warning(warning)
    prediction = judged(case, reader, point)
    show_verdict(prediction)
    pictures = st.container()
    display = display_controls()
    with pictures:
        view, methods = show_pictures(case, reader, display)
    show_trust(reader, point)
    show_downloads(case, reader, prediction, display, view, methods)


def show_verdict(prediction: "Prediction") -> None:
    mark, words = plots.VERDICTS[prediction.verdict]
    point = prediction.point
    heading, bar = st.columns([2, 3], vertical_alignment="center", gap="large")
    with heading:
        st.header(f"{mark}  {words}", anchor=False)
        st.markdown(
            f"Probability of pneumonia **{plots.percent(prediction.probability)}**, held against "
            f"the operating point at {plots.percent(point.threshold)} "
            f"({evaluation.POINT_TITLES[point.name]})."
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


def display_controls() -> Display:
    window, invert, cover, palette = st.columns([5, 2, 5, 6], vertical_alignment="bottom")
    low, high = window.slider(
        "Window (grey levels shown)",
        0,
        255,
        (0, 255),
        key="window",
        help="What lies below the left end is black, above the right end white. The level is the "
        "middle, the width the distance.",
    )
    inverted = invert.toggle("Invert", key="invert")
    opacity = cover.slider("Heatmap opacity", 0, 100, 60, format="%d %%", key="opacity")
    colours = palette.segmented_control(
        "Colours",
        plots.COLOUR_MAPS,
        default=plots.COLOUR_MAPS[0],
        required=True,
        key="colours",
        help="All rise evenly in brightness; cividis looks the same to people with red-green "
        "colour blindness.",
    )
    return Display(low, high, inverted, opacity / 100, colours)


def show_pictures(case: Case, reader: "Classifier", display: Display) -> tuple[str, list[str]]:
    """The radiograph and two heatmaps beside it; returns the view and methods that were chosen."""
    plain, *overlays = st.columns(3)
    with plain:
        view = st.selectbox(
            "Radiograph",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            key="view",
            help="For your eyes only: the network always reads the picture as taken.",
        )
        shown = display.apply(plots.for_screen(case.picture.pixels), view)
        st.image(shown, width="stretch", alt="The radiograph")
        height, width = case.picture.pixels.shape
        st.caption(
            f"{case.picture.format}, {width} × {height} pixels. The picture's left is the "
            "patient's right."
        )
    methods = []
    for column, default in zip(overlays, ("gradcam", "saliency"), strict=True):
        with column:
            method = st.selectbox(
                "Heatmap",
                list(METHODS),
                index=list(METHODS).index(default),
                format_func=lambda method: METHODS[method].title,
                key=f"method_{default}",
                bind="query-params",
                help="Methods other than Grad-CAM and saliency are computed when chosen and take "
                "up to a few seconds.",
            )
            heatmap = explained(case, reader, method).on(shown.shape)
            st.image(
                display.overlay(shown, heatmap),
                width="stretch",
                output_format="JPEG",
                alt=f"The radiograph with {METHODS[method].title} over it",
            )
            st.html(plots.heat_legend(display.colours))
            if not heatmap.any():
                st.caption("Nothing in this picture speaks for pneumonia by this method.")
            st.caption(f"{METHODS[method].shows} {METHODS[method].limits}")
            methods.append(method)
    return view, methods


def show_trust(reader: "Classifier", point: str) -> None:
    with st.container(border=True):
        st.markdown("**How far to trust this**")
        st.markdown(evaluation.trust(reader.run.metrics, point))
        st.markdown(
            "The network always gives a number, for a picture that is no chest radiograph too. A "
            "heatmap shows what the network used, not where the disease is. For education and "
            "research, not for diagnosis."
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
    stem = Path(case.name).stem
    explanations = {method: explained(case, reader, method) for method in methods}
    trust = evaluation.trust(reader.run.metrics, prediction.point.name)

    # Made when the button is pressed, at the radiograph's full size.
    def overlay_png() -> bytes:
        shown = display.apply(case.picture.pixels, view)
        file = io.BytesIO()
        picture = Image.fromarray(display.overlay(shown, explanations[methods[0]].heatmap))
        picture.save(file, "PNG")
        return file.getvalue()

    def report_pdf() -> bytes:
        shown = display.apply(plots.for_screen(case.picture.pixels), view)
        return report.pdf(
            case.name,
            shown,
            {
                method: display.overlay(shown, explanation.on(shown.shape))
                for method, explanation in explanations.items()
            },
            prediction,
            trust=trust,
            warnings=[*case.picture.warnings, *filter(None, [case.note])],
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


front_door.enter()
st.title("Read a chest X-ray", anchor=False)
upload, example = st.columns([3, 2])
with upload:
    cases = uploaded_cases()
if not cases:
    with example:
        chosen = example_case()
    cases = [chosen] if chosen else []
if not cases:
    st.markdown(
        "Drop one or several frontal chest X-rays above: JPEG, PNG, BMP, TIFF, WebP or DICOM. You "
        "get a calibrated probability of pneumonia, where on the picture it comes from, and how "
        "far to trust it. Pictures stay in this server's memory while the page is open, and are "
        "neither stored nor logged."
    )
    st.stop()
reader = classifier()
point = st.session_state.point
read_all(cases, reader)
show_case(show_queue(cases, reader, point) if len(cases) > 1 else cases[0], reader, point)

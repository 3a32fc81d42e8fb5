"""The pictures on the Diagnose page: opened, read once by each run, queued."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import tables
from cxrlib.data import dataset
from cxrlib.data.examples import Example
from cxrlib.images import radiograph
from cxrlib.images.radiograph import Radiograph, RadiographError
from cxrlib.inference.methods import METHODS
from pages.shared.loaded_models import modified

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from cxrlib.inference.classifier import Classifier, Prediction
    from cxrlib.inference.explain import Explanation

# A run's name, and when its networks were written: another may be trained under the same name.
_Reader = tuple[str, tuple[float, ...]]


@dataclass
class Case:
    """One picture on the page; ``error`` says why it could not be opened.

    A decoded radiograph takes megabytes, and many people may have many on their pages: what is
    not shown is put away, and opened again when it is.
    """

    name: str
    open: Callable[[], Radiograph]
    error: str = ""
    warnings: tuple[str, ...] = ()
    note: str = ""
    insisted: bool = False
    synthetic: bool = False
    predictions: dict[_Reader, "Prediction"] = field(default_factory=dict)
    explanations: dict[tuple[_Reader, str], "Explanation"] = field(default_factory=dict)
    _picture: Radiograph | None = None

    def __post_init__(self) -> None:
        try:
            self.warnings = tuple(self.picture.warnings)
        except (RadiographError, dataset.DatasetError, OSError) as error:
            self.error = str(error)

    @property
    def picture(self) -> Radiograph:
        """The radiograph, of a case without ``error``."""
        if self._picture is None:
            self._picture = self.open()
        return self._picture

    def put_away(self) -> None:
        """Keep what was read of it only."""
        self._picture = None
        self.explanations.clear()


def put_away(cases: Iterable[Case]) -> None:
    """Put away the pictures that are not shown."""
    for case in cases:
        case.put_away()


def of_files(files: "Iterable[UploadedFile]") -> list[Case]:
    """Cases of the uploaded files, in their order; what was read before is not read again."""
    known: dict[str, Case] = st.session_state.get("cases", {})
    cases = {
        file.file_id: known.get(file.file_id)
        or Case(file.name, partial(radiograph.read, file.getvalue()))
        for file in files
    }
    st.session_state.cases = cases
    return list(cases.values())


def of_example(example: Example) -> Case:
    """The case of an example, opened unless it is the one that was shown last."""
    case: Case | None = st.session_state.get("example_case")
    # What could not be fetched is tried again.
    if case is None or case.name != example.title or case.error:
        with st.spinner("Opening the example"):
            case = Case(example.title, example.load)
        case.synthetic = example.synthetic
        if example.synthetic:
            case.note = (
                "Synthetic radiograph: drawn by a program, not taken of a patient. It shows how "
                "the page works, no more: the shipped network saw none that is drawn as a whole, "
                "and misses many of their opacities. These were chosen because it tells them apart."
            )
        st.session_state.example_case = case
    return case


def read_all(cases: list[Case], reader: "Classifier") -> None:
    """Predict what the run in use has not seen yet, with progress where it takes a while."""
    read_by = _key(reader)
    todo = [case for case in cases if not case.error and read_by not in case.predictions]
    if not todo:
        return
    with st.spinner("Reading"):
        bar = st.progress(0.0) if len(todo) > 1 else None
        for number, case in enumerate(todo, start=1):
            prediction, explanations = reader.read(case.picture.pixels)
            case.predictions[read_by] = prediction
            for method, explanation in explanations.items():
                case.explanations[read_by, method] = explanation
            if bar:
                bar.progress(number / len(todo), f"Picture {number} of {len(todo)}")
        if bar:
            bar.empty()


def show_queue(cases: list[Case], reader: "Classifier", point: str) -> Case:
    """The table of several files, and which of them is shown below."""
    import pandas as pd

    rows = []
    for case in cases:
        row: dict[str, object] = {"file": case.name, "verdict": "not opened", "probability": None}
        row["remark"] = case.error
        if not case.error:
            prediction = judged(case, reader, point)
            row |= {
                "verdict": prediction.verdict,
                "probability": None if prediction.refused else prediction.probability,
                "remark": " ".join(filter(None, [prediction.reason, *case.warnings])),
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
            tables.to_csv(record),
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
    prediction = case.predictions[_key(reader)].held_against(reader.points[point])
    if case.synthetic:
        prediction = prediction.of_synthetic_image()
    return prediction.insist() if case.insisted else prediction


def explained(case: Case, reader: "Classifier", method: str) -> "Explanation":
    key = (_key(reader), method)
    if key not in case.explanations:
        with st.spinner(f"Computing {METHODS[method].title}"):
            case.explanations[key] = reader.explain(case.picture.pixels, method)
    return case.explanations[key]


def _key(reader: "Classifier") -> _Reader:
    return reader.run.name, modified(reader.run)

"""The pictures on the Diagnose page: taken in, read once by each run, queued."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import dataset, examples, radiograph, tables
from cxrlib.methods import METHODS
from cxrlib.radiograph import Radiograph, RadiographError

if TYPE_CHECKING:
    from cxrlib.classifier import Classifier, Prediction
    from cxrlib.explain import Explanation


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
    predictions: dict[str, "Prediction"] = field(default_factory=dict)
    explanations: dict[tuple[str, str], "Explanation"] = field(default_factory=dict)
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
        cases[file.file_id] = known.get(file.file_id) or Case(
            file.name, partial(radiograph.read, file.getvalue())
        )
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
        on_change=_allow_fetching,
        accept_new_options=True,
        placeholder="No X-ray at hand? Choose one",
        help="Synthetic radiographs are drawn by a program. Those from Kaggle are fetched from "
        "the public data set, which needs a connection; for any other picture of its test folder, "
        "type its name, such as person1_virus_6.jpeg.",
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
        example = choices.get(title) or examples.from_kaggle(title)
        # A link asks for nothing from elsewhere before somebody has clicked.
        if example.remote and st.session_state.get("example_wanted") != title:
            st.button("Fetch it from Kaggle", icon=":material/download:", on_click=_allow_fetching)
            return None
        with st.spinner("Opening the example"):
            known = open_example(example)
        st.session_state.example_case = known
    return known


def _allow_fetching() -> None:
    st.session_state.example_wanted = st.session_state.example


def open_example(example: examples.Example) -> Case:
    case = Case(example.title, example.load)
    if example.synthetic:
        case.note = (
            "Synthetic radiograph: drawn by a program, not taken of a patient. It shows how the "
            "page works, no more: the network was trained on real pictures only and takes nearly "
            "all drawings for normal. This one was chosen because it does so less."
        )
    return case


def read_all(cases: list[Case], reader: "Classifier") -> None:
    """Predict what the run in use has not seen yet, with progress where it takes a while."""
    todo = [case for case in cases if not case.error and reader.run.name not in case.predictions]
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
    import pandas as pd  # the empty page does not wait for it

    rows = []
    for case in cases:
        row = {"file": case.name, "verdict": "not read", "probability": None, "remark": case.error}
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
    prediction = case.predictions[reader.run.name].held_against(reader.points[point])
    return prediction.insist() if case.insisted else prediction


def explained(case: Case, reader: "Classifier", method: str) -> "Explanation":
    key = (reader.run.name, method)
    if key not in case.explanations:
        with st.spinner(f"Computing {METHODS[method].title}"):
            case.explanations[key] = reader.explain(case.picture.pixels, method)
    return case.explanations[key]

"""The images on the Diagnose page: opened, read once by each run, kept small."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib.data import dataset
from cxrlib.data.examples import Example
from cxrlib.images.radiograph import Radiograph, RadiographError
from cxrlib.inference.methods import METHODS
from pages.diagnose_parts.stored import DRAWN
from pages.shared.loaded_models import key_of
from pages.shared.uploads import Upload
from pages.shared.viewer import encoding

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from cxrlib.inference.classifier import Prediction
    from cxrlib.inference.ensemble import Reader
    from cxrlib.inference.explain import Explanation, Progress
    from pages.shared.viewer import EncodedImage

_ReadBy = tuple[str, tuple[float, ...]]  # as `key_of`


@dataclass
class Case:
    """One image on the page; ``error`` says why it could not be opened.

    A decoded radiograph takes megabytes, its heatmaps one, and many people may have many on their
    pages: of what is not shown only the verdicts are kept, and heatmaps that take long.

    Attributes:
        id: tells it from all others in this session.
        name: of the file or the example.
        open: decodes it.
        note: what is to be said of it wherever it is shown.
        label: its reference label, ``NORMAL`` or ``PNEUMONIA``; empty where nobody knows.
        path: where it lies in the data set; empty for uploads.
        earlier: whether it was there before the person looked at another page.
        insisted: whether it is read although it was rejected.
    """

    id: str
    name: str
    open: Callable[[], Radiograph]
    note: str = ""
    label: str = ""
    path: str = ""
    earlier: bool = False
    insisted: bool = False
    error: str = ""
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    description: str = ""
    thumbnail: bytes | None = None
    predictions: dict[_ReadBy, "Prediction"] = field(default_factory=dict)
    explanations: dict[tuple[_ReadBy, str], "Explanation"] = field(default_factory=dict)
    _radiograph: Radiograph | None = None
    _image: "EncodedImage | None" = None

    def __post_init__(self) -> None:
        try:
            opened = self.radiograph
        except (RadiographError, dataset.DatasetError, OSError) as error:
            self.error = str(error)
            return
        height, width = opened.pixels.shape
        self.warnings = tuple(opened.warnings)
        self.description = f"{opened.format}, {width} × {height} pixels"
        self.thumbnail = encoding.thumbnail(opened.pixels)

    @property
    def radiograph(self) -> Radiograph:
        """The radiograph, of a case without ``error``."""
        if self._radiograph is None:
            self._radiograph = self.open()
        return self._radiograph

    @property
    def image(self) -> "EncodedImage":
        """The radiograph as the viewer shows it."""
        if self._image is None:
            self._image = encoding.encode(self.radiograph.pixels)
        return self._image

    def put_away(self) -> None:
        """Keep the verdicts and the heatmaps that take long; make the rest again when needed."""
        self._radiograph = self._image = None
        self.explanations = {
            key: found for key, found in self.explanations.items() if METHODS[key[1]].slow
        }


def uploaded() -> dict[str, Case]:
    """The uploaded images by their number, those from earlier first."""
    return st.session_state.setdefault("cases", {})


def follow_uploads(files: "Iterable[UploadedFile]", *, emptied: bool) -> None:
    """Open the files that are new, forget those that were removed, and choose what is shown.

    The newest drop is what is shown; what is chosen stays chosen while others come and go.

    Args:
        files: what the uploader holds.
        emptied: whether the uploader holds nothing because the person was on another page.
    """
    cases = uploaded()
    held = {file.file_id: file for file in files}
    if emptied:
        for case in cases.values():
            case.earlier = True
        return
    for number in [number for number, case in cases.items() if not case.earlier]:
        if number not in held:
            del cases[number]
    new = [number for number in held if number not in cases]
    for number in new:
        file = held[number]
        cases[number] = Case(number, file.name, Upload(file).read)
        if number != new[0]:  # which is read next
            cases[number].put_away()
    if new:
        st.session_state.shown = new[0]
    elif st.session_state.get("shown") not in cases:
        st.session_state.shown = next(reversed(cases), None)


def forget_earlier() -> None:
    """Remove the images from before the person looked at another page."""
    cases = uploaded()
    for number in [number for number, case in cases.items() if case.earlier]:
        del cases[number]
    if st.session_state.get("shown") not in cases:
        st.session_state.shown = next(reversed(cases), None)


def of_example(example: Example) -> Case:
    """The case of an example, opened unless it is the one that was shown last."""
    case: Case | None = st.session_state.get("example_case")
    # What could not be fetched is tried again.
    if case is None or case.name != example.title or case.error:
        with st.spinner("Opening the example"):
            case = Case(
                f"example {example.title}",
                example.title,
                example.load,
                label=example.label,
                path=example.path,
            )
        case.synthetic = example.synthetic
        if example.synthetic:
            case.note = (
                f"{DRAWN} It shows how the page works. The model was trained on real radiographs "
                "and often errs on drawn ones; it is right about this pair."
            )
        st.session_state.example_case = case
    return case


def read_all(cases: list[Case], reader: "Reader") -> None:
    """Predict what the run in use has not seen yet, with progress where it takes a while."""
    read_by = key_of(reader)
    todo = [case for case in cases if not case.error and read_by not in case.predictions]
    if not todo:
        return
    bar = st.progress(0.0) if len(todo) > 1 else None
    for number, case in enumerate(todo, start=1):
        case.predictions[read_by] = reader.predict(case.radiograph.pixels)
        case.put_away()
        if bar:
            bar.progress(number / len(todo), f"Image {number} of {len(todo)}")
    if bar:
        bar.empty()


def is_read(case: Case) -> bool:
    """Whether a run of the name in use has read a case, without loading one."""
    return bool(case.error) or any(
        Path(folder).name == st.session_state.get("run") for folder, _ in case.predictions
    )


def judged(case: Case, reader: "Reader", point: str) -> "Prediction":
    """What the run says of a case at an operating point."""
    prediction = case.predictions[key_of(reader)].held_against(reader.points[point])
    if case.synthetic:
        prediction = prediction.of_synthetic_image()
    return prediction.insist() if case.insisted else prediction


def explained(case: Case, reader: "Reader") -> list["Explanation"]:
    """The heatmaps that come with a reading, and those that were asked for, in the order in which
    they are shown; reads the case unless it has been read."""
    read_by = key_of(reader)
    if not any(key[0] == read_by and not METHODS[key[1]].slow for key in case.explanations):
        case.predictions[read_by], maps = reader.read(case.radiograph.pixels)
        for method, explanation in maps.items():
            case.explanations[read_by, method] = explanation
    found = [found for (reader, _), found in case.explanations.items() if reader == read_by]
    return sorted(found, key=lambda explanation: METHODS[explanation.method].slow)


def explain_with(
    case: Case, reader: "Reader", method: str, on_progress: "Progress | None" = None
) -> None:
    """Add the heatmap of one more method to those of a case; see `Classifier.explain`."""
    case.explanations[key_of(reader), method] = reader.explain(
        case.radiograph.pixels, method, on_progress=on_progress
    )

"""What the empty Diagnose page asks for: files, or an example. It stands there at once."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib.data import dataset, examples

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from pages.diagnose_parts.cases import Case


def uploaded_files() -> "list[UploadedFile]":
    """The files that were dropped; of those taken away nothing is kept."""
    return st.file_uploader(
        "Chest X-rays",
        accept_multiple_files=True,
        key="uploads",
        help="JPEG, PNG, BMP, TIFF, WebP or DICOM, up to 50 MB each. Pictures stay in memory and "
        "are gone when you close the page.",
        on_change=_note_uploads,
    )


def _note_uploads() -> None:
    if st.session_state.uploads:
        st.session_state.example = None
    else:
        st.session_state.cases = {}


def kept_cases(files: "list[UploadedFile]") -> "list[Case]":
    """What was dropped before the person looked at another page, which empties the uploader."""
    kept: list[Case] = st.session_state.setdefault("kept", [])
    if not files:
        kept += st.session_state.get("cases", {}).values()
        st.session_state.cases = {}
    return kept


def offer_to_take_away(kept: "list[Case]") -> None:
    st.button(
        f"Take away {len(kept)} pictures from before"
        if len(kept) > 1
        else "Take away the picture from before",
        icon=":material/close:",
        width="stretch",
        on_click=kept.clear,
    )


def chosen_example() -> examples.Example | None:
    """The example that was asked for, if any, with a choice of others."""
    typed = st.session_state.get("data_folder")
    folder = Path(typed) if typed else dataset.configured_folder()
    asked = st.query_params.get("example") or st.session_state.get("example")
    try:
        found = examples.all_examples(folder=folder, also=asked)
    except dataset.DatasetError as error:
        from pages.shared.data_folder import show_problem  # the empty page waits for no pandas

        show_problem(str(error))
        found = examples.all_examples(also=asked)
    choices = {example.title: example for example in found}
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
    example = choices.get(title) or examples.from_kaggle(title)
    opened = st.session_state.get("example_case")
    # A link asks for nothing from elsewhere before somebody has clicked.
    if (
        example.remote
        and st.session_state.get("example_wanted") != title
        and (opened is None or opened.name != title)
    ):
        st.button("Fetch it from Kaggle", icon=":material/download:", on_click=_allow_fetching)
        return None
    return example


def _allow_fetching() -> None:
    st.session_state.example_wanted = st.session_state.example

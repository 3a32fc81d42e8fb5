"""What comes onto the Diagnose page: files that are dropped, or an example."""

import streamlit as st

from cxrlib.data import dataset, examples
from cxrlib.data.examples import Example
from pages.diagnose_parts import stored
from pages.shared import thumbnails
from pages.shared.data_folder import folder_in_use, show_problem
from pages.shared.thumbnails import Thumbnail

# What opens an image is imported where one is opened: the first page of a server waits for none
# of it.


def has_files() -> bool:
    """Whether somebody has dropped files, now or before they looked at another page."""
    return bool(st.session_state.get("uploads") or st.session_state.get("cases"))


def follow_address() -> None:
    """Have the address say that there are uploads, and who loads it again that they are gone."""
    if st.session_state.get("cases"):
        st.query_params.uploads = "1"
    elif "uploads" in st.query_params:
        if "cases" in st.session_state or "example" in st.query_params:
            del st.query_params["uploads"]
        else:
            st.info(
                "The uploaded images are gone: they are kept only while the page is open, and are "
                "not part of its address. Drop them again.",
                icon=":material/refresh:",
            )


def ask_for_files(label: str) -> None:
    """The place to drop files, and what became of those that were dropped."""
    files = st.file_uploader(
        label,
        accept_multiple_files=True,
        key="uploads",
        help="JPEG, PNG, BMP, TIFF, WebP or DICOM, up to 50 MB each. Images are kept in memory "
        "only, and removed after you close the page.",
        on_change=_follow_uploads,
    )
    if not st.session_state.get("cases"):
        return
    from pages.diagnose_parts import cases

    if not files:
        cases.follow_uploads([], emptied=True)
    earlier = sum(case.earlier for case in cases.uploaded().values())
    if earlier:
        st.button(
            "Remove the earlier image" if earlier == 1 else f"Remove the {earlier} earlier images",
            icon=":material/close:",
            width="stretch",
            on_click=cases.forget_earlier,
        )


def _follow_uploads() -> None:
    from pages.diagnose_parts import cases

    cases.follow_uploads(st.session_state.uploads, emptied=False)
    st.query_params.pop("example", None)


def choose_example() -> Example | None:
    """A strip of examples; returns the one that was asked for, at first the first of them.

    None where somebody has to press something first.
    """
    asked = st.query_params.get("example")
    try:
        found = examples.all_examples(folder=folder_in_use(), also=asked)
    except dataset.DatasetError as error:
        show_problem(str(error))
        found = examples.all_examples(also=asked)
    by_title = {example.title: example for example in found}
    if asked and asked not in by_title and dataset.is_picture_name(asked):
        by_title[asked] = examples.from_kaggle(asked)
    if asked and asked not in by_title:
        st.warning(
            "There is no example of that name. Here is another.", icon=":material/search_off:"
        )
    chosen = by_title.get(asked or "", found[0])
    thumbnails.show(
        [_thumbnail(example, current=example is chosen) for example in by_title.values()],
        _choose,
        key="examples",
        label="Examples",
    )
    # A link asks for nothing from elsewhere before somebody has pressed something.
    if chosen.remote and st.session_state.get("example_wanted") != chosen.title:
        st.button(
            "Fetch it from Kaggle",
            icon=":material/download:",
            on_click=_choose,
            args=(chosen.title,),
        )
        return None
    return chosen


def _choose(title: str) -> None:
    st.query_params.example = title
    st.session_state.example_wanted = title


def _thumbnail(example: Example, *, current: bool) -> Thumbnail:
    kind = example.label.lower() or "chest X-ray"
    source = "drawn" if example.synthetic else "from Kaggle" if example.remote else ""
    return Thumbnail(
        example.title,
        ", ".join(filter(None, [kind, source])).capitalize(),
        None if example.remote else _image(example),
        instead="Fetch from Kaggle",
        caption=kind.capitalize(),
        badge=source if example.synthetic else "",
        current=current,
    )


def _image(example: Example) -> bytes | None:
    if example.synthetic:
        return stored.reading().thumbnails[example.title]
    from cxrlib.images.radiograph import RadiographError

    try:
        return _thumbnail_of(example.title, str(folder_in_use()), example)
    except (RadiographError, dataset.DatasetError, OSError):
        return None  # why, is said where it is opened


@st.cache_data(max_entries=100, show_spinner=False)
def _thumbnail_of(title: str, folder: str, _example: Example) -> bytes:
    from pages.shared.viewer import encoding

    return encoding.thumbnail(_example.load().pixels)

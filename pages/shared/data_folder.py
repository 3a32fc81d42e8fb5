"""Where the data set is, or how to get it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from cxrlib import urls
from cxrlib.data import classes, dataset, entries, remote
from cxrlib.data.downloads import Download
from cxrlib.formatting import percent
from pages.shared.permissions import allowed, why_not
from pages.shared.text import number, plain

if TYPE_CHECKING:
    import pandas as pd


@st.cache_data(max_entries=4, show_spinner="Reading the data set. The first time takes a while.")
def load(folder: str, fingerprint: str) -> "pd.DataFrame":
    from cxrlib.data import index_cache  # the first page of the app waits for no pandas

    return index_cache.cached_index(Path(folder))


@st.cache_resource(show_spinner=False)
def downloads() -> dict[str, Download]:
    """The download that goes on, if any: one for everybody on this server."""
    return {}


def place_in_use() -> str | None:
    """Path or URL of the data set."""
    return st.session_state.get("data_folder") or dataset.configured_place()


def folder_in_use() -> Path | None:
    """The data set's folder; of one at a URL its copy, where there is one."""
    place = place_in_use()
    if place is None:
        return None
    folder = remote.folder(place)
    return None if urls.is_url(place) and not folder.exists() else folder


def ask_folder() -> None:
    with st.form("folder", border=False):
        typed = st.text_input(
            "Folder with the X-rays",
            value=place_in_use() or "",
            placeholder="/data/chest_xray",
            help="On the computer that runs this page, or a URL such as s3://bucket/chest_xray. "
            "The environment variable CXR_DATA_DIR sets it permanently, and for training too.",
        )
        if st.form_submit_button("Open the folder", icon=":material/folder_open:"):
            st.session_state.data_folder = typed.strip()
            st.rerun()


def show_problem(message: str) -> None:
    """An error of several lines: the sentence, then the layout as it is."""
    sentence, _, layout = message.partition("\n")
    st.error(plain(sentence), icon=":material/folder_off:")
    if layout:
        st.code(layout, language=None)


def ask_meanings(root: Path, found: "dict[str, tuple[int, str]]") -> None:
    """What each class of a data set means, as far as its names do not tell."""
    with st.form("meanings", border=True):
        st.markdown(
            f"**{plain(str(root))}** is not laid out as the Kaggle set. What do its classes mean?"
        )
        chosen = {
            name: st.selectbox(
                f"{plain(name)} ({number(count)} files)",
                list(classes.MEANINGS),
                index=list(classes.MEANINGS).index(meaning) if meaning else None,
                placeholder="choose",
                key=f"meaning_{name}",
            )
            for name, (count, meaning) in found.items()
        }
        if st.form_submit_button("Use these meanings", icon=":material/check:"):
            given = {name: meaning for name, meaning in chosen.items() if meaning}
            if len(given) == len(chosen):
                classes.give(root, given)
                st.rerun()
            st.error("Choose a meaning for every class, or leave-out.")


def ask_unknown(error: entries.UnknownClassesError) -> None:
    """Ask for the meanings that are open, and go no further."""
    if reason := why_not("train"):
        st.info(reason, icon=":material/lock:")
    else:
        counts, known = error.counts, error.meanings
        ask_meanings(error.root, {name: (counts[name], known[name]) for name in counts})
    st.stop()


def ask_for_data() -> None:
    """What there is to do where no data set is at hand."""
    st.markdown(
        "The data set comes from Kaggle: 5,856 frontal chest X-rays of children aged one to five, "
        "normal or with pneumonia (Kermany et al. 2018, CC BY 4.0). *Diagnose* works without it, "
        "and fetches a few of its images on request."
    )
    if reason := why_not("train"):
        st.caption(f":material/lock: {reason}")
        return
    fetch, own = st.columns(2, gap="large")
    with own:
        st.header("Open it on this computer", anchor=False)
        place = place_in_use()
        if place and urls.is_url(place) and folder_in_use() is None:
            st.info("This data set is not on this computer yet. Copy it here in a terminal:")
            st.code(f"python -m cxrlib download {shlex.quote(place)}", language="sh")
        ask_folder()
    with fetch:
        st.header("Download it from Kaggle", anchor=False)
        offer_download()
        with st.expander("Download it yourself"):
            st.code(dataset.INSTRUCTIONS, language=None, wrap_lines=True)


def offer_download() -> None:
    download = downloads().get("kaggle")
    if download and not download.problem:
        follow_download(download)
        return
    if download:
        # What follows the sentence is shown below as "Download it yourself".
        show_problem(download.problem.partition("\n")[0])
    if st.button("Download the data set (2.3 GB)", type="primary", icon=":material/download:"):
        downloads()["kaggle"] = Download()
        st.rerun()
    st.caption(
        "No account needed. The download continues while you use other pages, and resumes where "
        "it stopped if it is interrupted."
    )


@st.fragment(run_every=1)
def follow_download(download: Download) -> None:
    share = download.share
    if share is None:
        words = "Connecting to Kaggle"
    elif share < 1:
        words = f"{percent(share)} downloaded"
    else:
        words = "Downloaded; unpacking the images"
    st.progress(share or 0.0, words)
    if st.button("Stop", icon=":material/stop_circle:"):
        download.stop()
        downloads().pop("kaggle", None)  # another tab may have stopped it
        st.rerun()
    if download.succeeded:
        st.session_state.data_folder = str(dataset.downloaded_folder())
        downloads().pop("kaggle", None)
    if not download.running:
        st.rerun()


def show_place(table: "pd.DataFrame", folder: Path) -> None:
    """Where the data set is, and what to know of it before it is trained on."""
    place, change = st.columns([5, 1], vertical_alignment="center")
    named = place_in_use() or ""
    where = urls.public(named) if urls.is_url(named) else table.attrs["root"]
    place.caption(f"{number(len(table))} images in {plain(where)}")
    if allowed():
        with change.popover("Change", icon=":material/folder:", width="stretch"):
            ask_folder()
    if found := entries.meanings(folder):
        with st.expander("What the classes mean", icon=":material/label:"):
            ask_meanings(Path(table.attrs["root"]), found)
    for sentence in dataset.warnings(table):
        st.warning(plain(sentence))

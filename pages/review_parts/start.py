"""Begin a session, or go on with one."""

import hashlib
from pathlib import Path

import streamlit as st

from cxrlib import reviews, runs
from cxrlib.images import files
from cxrlib.reviews import STRATEGIES, Case, Session
from cxrlib.runs import ensembles
from cxrlib.runs.operating_points import POINT_TITLES
from cxrlib.runs.provenance import SYNTHETIC_RUN, TITLES, trained_on
from cxrlib.runs.records import read_points
from pages.review_parts.parts import ROLES, SOURCES, go_to, session_title, store
from pages.shared.data_folder import folder_in_use
from pages.shared.loaded_models import modified
from pages.shared.permissions import allowed
from pages.shared.text import plain

_MOST_CASES = 100


def show() -> None:
    """The two ways in: a new session, and those that were begun."""
    st.markdown(
        "Read X-rays blind, then see what the model says and whether you change your answer. At "
        "the end you see how often you and the model agree, and how often each is right."
    )
    new, known = st.columns([3, 2], gap="large")
    with new:
        st.header("New session", anchor=False)
        _new()
    with known:
        if allowed("delete"):
            _known()
        else:
            st.caption(
                "Sessions are not listed here. Keep the address of yours: there you can "
                "come back to it, save its table and delete it."
            )


def _known() -> None:
    """The sessions of the reader whose name is given, and nobody else's."""
    here = st.session_state.get("reader_name", "").strip() or st.session_state.get("reader_here")
    readers = [reader for reader in store().readers() if reader.name == here]
    if not readers:
        st.caption("Enter your name under *New session* to see the sessions you have started.")
        return
    sessions = [session for reader in readers for session in reader.sessions]
    sessions.sort(key=lambda session: session.started, reverse=True)
    for title, key, label, icon, which in (
        ("Go on reading", "open", "Go on", ":material/play_arrow:", False),
        ("Finished sessions", "over", "See results", ":material/monitoring:", True),
    ):
        chosen = {
            session.uid: session for session in sessions if (session.ended is not None) == which
        }
        if not chosen:
            continue
        st.header(title, anchor=False)
        titles = {uid: session_title(session) for uid, session in chosen.items()}
        uid = st.selectbox(
            title,
            list(chosen),
            format_func=titles.__getitem__,
            key=f"sessions_{key}",
            label_visibility="collapsed",
        )
        st.button(label, key=f"go_{key}", icon=icon, on_click=go_to, args=(uid,))


def _new() -> None:
    who, role = st.columns(2)
    name = who.text_input(
        "Name or initials",
        key="reader_name",
        max_chars=60,
        placeholder="A. B.",
        help="Your readings are kept under this name. Initials or a made-up name will do. You can "
        "delete a session later, at its address.",
    ).strip()
    profession = role.selectbox(
        "Role",
        ROLES,
        key="reader_role",
        help="If you have read here before, your role stays what it was.",
    )
    somebody = (
        bool(name) and name != st.session_state.get("reader_here") and store().has_reader(name)
    )
    if somebody:
        somebody = not st.checkbox(
            f"I am the {plain(name)} who has read here before", key=f"reader_is_{name}"
        )
    # On a server that is open to everybody nobody opens folders.
    sources = [source for source in SOURCES if source != "folder" or allowed()]
    source = st.radio(
        "Cases",
        sources,
        index=0 if folder_in_use() else len(sources) - 1,
        format_func=SOURCES.__getitem__,
        key="case_source",
        horizontal=True,
    )
    run = runs.find(st.session_state.run)
    synthetic = trained_on(run.metrics) == "synthetic"
    strategy, folder = "random", ""
    if source == "run":
        strategy = st.selectbox(
            "Which of them", list(STRATEGIES), format_func=STRATEGIES.__getitem__, key="strategy"
        )
        _say_where_from(run)
    elif source == "folder":
        folder = st.text_input(
            "Folder with your images",
            key="case_folder",
            placeholder="/data/my_xrays",
            help="On the computer that runs this page. Images in a folder NORMAL or PNEUMONIA "
            "have that label; others have none, and you see agreement but no accuracy.",
        ).strip()
        if folder and Path(folder).is_dir() and (sentence := _left_out(folder)):
            st.caption(plain(sentence))
        if synthetic:
            st.warning(SYNTHETIC_RUN, icon=":material/science:")
    else:
        st.caption(
            "Radiographs drawn by a program, half of them with an opacity, to learn how this page "
            "works. How you compare with the model on them means nothing for patients."
            + (
                ""
                if synthetic
                else " The run in use was trained on real radiographs and often errs on drawn ones."
            )
        )
    count, draw = st.columns(2)
    length = count.number_input("Number of cases", 2, _MOST_CASES, 20, key="case_count")
    seed = draw.number_input(
        "Random seed",
        0,
        2**31 - 1,
        0,
        key="case_seed",
        help="The same number gives the same list in the same order: use the same one for all "
        "readers who are to be compared.",
    )
    point = st.session_state.point
    st.caption(
        f"You are compared with the run {plain(run.name)}, trained on "
        f"{TITLES[trained_on(run.metrics)]}, at the operating point {POINT_TITLES[point]}. Both "
        "are chosen in the sidebar and stay the same for the whole session."
    )
    if not st.button(
        "Begin",
        type="primary",
        icon=":material/visibility_off:",
        disabled=source == "folder" and synthetic,
    ):
        return
    if not name:
        st.warning("Enter a name or initials to begin.", icon=":material/person:")
        return
    if somebody:
        st.warning(
            f"Somebody called {plain(name)} has already read here. If that was you, tick the box "
            "above, and your readings are kept together; if not, choose another name.",
            icon=":material/person:",
        )
        return
    with st.spinner("Selecting the cases"):
        found, split = _cases(run, source, strategy, folder, length, seed)
    if not found:
        st.warning(
            "No such cases were found. Choose another kind of list, or another folder.",
            icon=":material/search_off:",
        )
        return
    st.session_state.reader_here = name
    go_to(
        store().start(
            name=name,
            role=profession,
            source=source,
            strategy=strategy,
            split=split,
            seed=seed,
            run=run.name,
            model=digest(run),
            point=read_points(run.metrics)[point],
            cases=found,
        )
    )
    st.rerun()


@st.cache_data(ttl=60, show_spinner="Looking through the folder")
def _left_out(folder: str) -> str:
    return files.sentence(files.find(Path(folder))[1])


def _say_where_from(run: runs.Run) -> None:
    if folder_in_use() is None:
        st.caption(
            "The images are fetched from Kaggle one by one while you read, which needs a "
            "connection but no account. Without one, choose the synthetic practice list."
            if trained_on(run.metrics) == "kaggle"
            else "This run was not trained on the whole Kaggle set: open the folder of its images "
            "under *Data set* first."
        )


def _cases(
    run: runs.Run, source: str, strategy: str, folder: str, length: int, seed: int
) -> tuple[list[Case], str]:
    if source == "practice":
        return reviews.practice_cases(length=length, seed=seed), ""
    if source == "folder":
        if not Path(folder).is_dir() or not folder:
            return [], ""
        return reviews.folder_cases(Path(folder), length=length, seed=seed), ""
    split = "test" if "test" in run.metrics["splits"] else "validation"
    rows = run.predictions
    point = read_points(run.metrics)[st.session_state.point]
    return reviews.run_cases(
        rows[rows.split == split],
        strategy=strategy,
        point=point,
        length=length,
        seed=seed,
        folder=folder_in_use(),
    ), split


def digest(run: runs.Run) -> str:
    """What tells one network, or several that are averaged, from others of the same name."""
    members = zip(ensembles.networks(run), modified(run), strict=True)
    return "+".join(_digest(str(member.onnx_file), written) for member, written in members)


@st.cache_data(max_entries=50, show_spinner=False)
def _digest(onnx_file: str, modified: float) -> str:
    return hashlib.blake2b(Path(onnx_file).read_bytes(), digest_size=16).hexdigest()


def model_of(session: Session) -> runs.Run:
    """The run that a session is pinned to.

    Raises:
        RunError: it is gone, not whole, or was trained again.
    """
    run = runs.find(session.run)
    if digest(run) != session.model:
        raise runs.RunError(
            f"The run {run.name} was replaced since this session began. What the model said then "
            "is kept; new cases and heatmaps cannot be computed. Restore the run's folder."
        )
    return run

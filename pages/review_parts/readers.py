"""Readers beside each other: who agrees with whom, and on what they do not."""

import pandas as pd
import streamlit as st

from cxrlib import reviews
from cxrlib.reviews.agreement import CALLS, counts_of
from pages.review_parts.parts import store
from pages.shared.downloadable import show_table
from pages.shared.permissions import allowed


def show() -> None:
    """Agreement matrix, Fleiss' kappa, most argued cases; of sessions that are over."""
    if not allowed("delete"):
        st.info("What everybody has read is not shown here.", icon=":material/lock:")
        return
    everything = reviews.export(store())
    over = everything[everything.ended.notna()]
    if over.second_at.isna().all():
        st.info(
            "No session is over yet. When two readers have read the same cases, they meet here."
        )
        return
    when = st.segmented_control(
        "Answers",
        ["first", "second"],
        default="first",
        required=True,
        format_func={"first": "Blind", "second": "After the model"}.__getitem__,
        key="readers_answers",
    )
    calls = reviews.calls_by_reader(over, when)
    names = st.multiselect(
        "Readers", list(calls.columns), placeholder="all of them", key="readers_chosen"
    )
    calls = calls[names or list(calls.columns)]
    if calls.shape[1] < 2:
        st.info(
            "Choose a second reader."
            if names
            else "Only one reader has finished a session. A second one who takes the same kind of "
            "list with the same number under *Draw* reads the same cases."
        )
        return
    matrix, together = st.columns([3, 2], gap="large")
    with matrix:
        _matrix(calls)
    with together:
        _together(calls)
    _argued(calls, everything)


def _matrix(calls: pd.DataFrame) -> None:
    st.markdown("**Each two of them**")
    pairs = reviews.kappa_matrix(calls)
    square = pd.DataFrame("", index=calls.columns, columns=calls.columns, dtype=object)
    for pair in pairs.itertuples():
        words = f"{pair.kappa} · {pair.cases}" if pair.cases else "none in common"
        square.loc[pair.one, pair.other] = square.loc[pair.other, pair.one] = words
    for name in calls.columns:
        square.loc[name, name] = "—"
    show_table(
        square.rename_axis(index="reader", columns=None).reset_index(),
        "agreement",
        "Cohen's kappa of each two readers",
        csv=pairs.assign(kappa=pairs.kappa.map(str)),
    )
    st.caption("Cohen's kappa with its 95 % interval · number of cases that both have read.")


def _together(calls: pd.DataFrame) -> None:
    st.markdown("**All of them**")
    common = calls.dropna()
    found = reviews.fleiss_kappa(counts_of(common))
    st.metric(
        "Fleiss' kappa",
        f"{found}".partition(" ")[0],
        f"{found}".partition(" ")[2].strip("()") or None,
        delta_color="off",
        delta_arrow="off",
        help="Agreement of several readers beyond chance (Fleiss 1971): 0 is what chance gives, 1 "
        "full agreement. Interval by resampling cases.",
    )
    st.caption(f"On the {len(common)} cases that all {calls.shape[1]} have read.")


def _argued(calls: pd.DataFrame, everything: pd.DataFrame) -> None:
    st.markdown("**Most argued about**")
    table = reviews.argued(calls)
    if table.empty:
        st.caption("They agree on every case that two of them have read.")
        return
    # One row a case: what is known of it, hidden while anybody is still to read it.
    known = everything.drop_duplicates("case_key", keep="last").set_index("case_key")
    still_read = everything[everything.ended.isna()].case_key
    table = table.join(known[["path", "label", "probability"]])
    table.loc[table.index.isin(still_read), ["path", "label"]] = "being read"
    table.loc[table.index.isin(still_read), "probability"] = float("nan")
    show_table(
        table[["path", "label", "probability", *CALLS, "disagreement"]].head(20),
        "argued",
        "Cases on which readers disagree, the most argued about first",
        columns={
            "probability": st.column_config.NumberColumn("model", format="percent"),
            "disagreement": st.column_config.NumberColumn("pairs that disagree", format="percent"),
        },
    )

"""Readers beside each other: who agrees with whom, and on what they do not."""

import pandas as pd
import streamlit as st

from cxrlib import reviews
from cxrlib.formatting import decimal, percent
from cxrlib.metrics import Estimate
from cxrlib.reviews.agreement import CALLS, KAPPA_DIGITS, counts_of
from pages.review_parts.parts import store
from pages.shared.downloadable import show_table


def show() -> None:
    """Agreement matrix, Fleiss' kappa, most disputed cases; of sessions that are over."""
    everything = reviews.export(store())
    over = everything[everything.ended.notna()]
    if over.second_at.isna().all():
        st.info(
            "No session has been finished yet. Once two readers have read the same cases, their "
            "agreement is shown here."
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
            else "Only one reader has finished a session. A second one who chooses the same kind "
            "of list with the same number under *Random seed* reads the same cases."
        )
        return
    matrix, together = st.columns([3, 2], gap="large")
    with matrix:
        _matrix(calls)
    with together:
        _together(calls)
    _argued(calls, everything)


def _matrix(calls: pd.DataFrame) -> None:
    st.markdown("**Pairs**")
    pairs = reviews.kappa_matrix(calls)
    square = pd.DataFrame("", index=calls.columns, columns=calls.columns, dtype=object)
    for pair in pairs.itertuples():
        agreed = round(pair.agreement * pair.cases) if pair.cases else 0
        words = (
            f"{agreed} of {pair.cases} agree, κ {_kappa(pair.kappa)}"
            if pair.cases
            else "none in common"
        )
        square.loc[pair.one, pair.other] = square.loc[pair.other, pair.one] = words
    for name in calls.columns:
        square.loc[name, name] = "—"
    show_table(
        square.rename_axis(index="Reader", columns=None).reset_index(),
        "agreement",
        "Cohen's kappa of each pair of readers",
        csv=pairs.assign(kappa=pairs.kappa.map(_kappa)),
    )
    st.caption("κ: Cohen's kappa with its 95 % interval, on the cases both have read.")


def _kappa(found: Estimate) -> str:
    return decimal(found, KAPPA_DIGITS)


def _together(calls: pd.DataFrame) -> None:
    st.markdown("**All readers**")
    common = calls.dropna()
    value, _, interval = _kappa(reviews.fleiss_kappa(counts_of(common))).partition(" (")
    st.metric(
        "Fleiss' kappa",
        value,
        interval.rstrip(")") or None,
        delta_color="off",
        delta_arrow="off",
        help="Agreement of several readers beyond chance (Fleiss 1971): 0 is agreement by chance, "
        "1 full agreement. Interval by resampling cases.",
    )
    st.caption(f"On the {len(common)} cases all {calls.shape[1]} have read.")


def _argued(calls: pd.DataFrame, everything: pd.DataFrame) -> None:
    st.markdown("**Most disputed cases**")
    table = reviews.argued(calls)
    if table.empty:
        st.caption("Readers agree on every case that two of them have read.")
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
        "Cases on which readers disagree, the most disputed first",
        columns={
            "path": st.column_config.TextColumn("File"),
            "label": st.column_config.TextColumn("Reference label"),
            "probability": st.column_config.NumberColumn("Model"),
            **{call: st.column_config.NumberColumn(call.capitalize()) for call in CALLS},
            "disagreement": st.column_config.NumberColumn("Pairs that disagree"),
        },
        formats={"probability": percent, "disagreement": percent},
    )

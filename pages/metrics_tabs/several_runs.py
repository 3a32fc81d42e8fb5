"""Tabs that show runs beside each other: curves, and the comparison."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from cxrlib import comparison
from cxrlib.comparison import ComparisonError
from cxrlib.measured import METRIC_TITLES, Measured, curve_figures
from pages.metrics_tabs.parts import show_figure, show_table

_FILTERS = ("network", "size", "augmentation", "imbalance")


def show_curves(readings: Sequence[Measured], point: str) -> None:
    """ROC and precision–recall of the run in use and those it is compared with."""
    names = " and ".join(reading.run.name for reading in readings)
    stem = f"{readings[0].run.name}-{readings[0].split}"
    titles = ("**ROC**", "**Precision–recall**")
    drawn = curve_figures(readings, point)
    for column, title, name, figure in zip(
        st.columns(2, gap="large"), titles, ("roc", "precision-recall"), drawn, strict=True
    ):
        with column:
            st.markdown(title)
            show_figure(figure, f"{stem}-{name}", f"{title.strip('*')} curve of {names}")
    st.caption(
        "Shaded: 95 % band by resampling patients. Mark: the operating point. Dotted: chance."
    )
    found = {reading.run.name: reading.estimates(point) for reading in readings}
    shown = {"metric": METRIC_TITLES.values()} | {
        name: [str(estimates[metric]) for metric in METRIC_TITLES]
        for name, estimates in found.items()
    }
    show_table(
        pd.DataFrame(shown),
        f"{stem}-metrics",
        "Every metric with its 95 % interval",
        csv=pd.concat(reading.table(point).assign(run=reading.run.name) for reading in readings),
    )


def show_comparison(readings: Sequence[Measured], known: Sequence[Measured], point: str) -> None:
    """All runs in a table; those chosen beside each other, tested in pairs and put together."""
    _show_all(known, point)
    if len(readings) == 1:
        st.info(
            "Choose other runs under *Compare with* to see how they were trained, whether they "
            "differ, and what they reach together."
        )
        return
    st.markdown("## How they were trained")
    differences = comparison.configuration_differences([item.run for item in readings])
    if differences.empty:
        st.caption("All settings are the same.")
    else:
        show_table(differences.reset_index(), "settings", "Settings in which the runs differ")
    _show_tests(readings, point)
    _show_ensemble(readings, point)


def _show_all(known: Sequence[Measured], point: str) -> None:
    table = comparison.run_table(known, point)
    choices = {name: sorted(table[name].unique()) for name in _FILTERS}
    choices = {name: values for name, values in choices.items() if len(values) > 1}
    if choices:
        with st.popover("Filter", icon=":material/filter_list:"):
            for name, values in choices.items():
                kept = st.multiselect(
                    name.capitalize(), values, key=f"only_{name}", placeholder="all"
                )
                if kept:
                    table = table[table[name].isin(kept)]
    columns = {
        name: st.column_config.NumberColumn(METRIC_TITLES.get(name, name), format="%.3f")
        for name in ("threshold", "roc_auc", "sensitivity", "specificity")
    }
    columns |= {
        f"{name} interval": st.column_config.TextColumn("95 % interval")
        for name in ("roc_auc", "sensitivity", "specificity")
    }
    show_table(table, "runs", "All finished runs; a click on a heading sorts", columns=columns)


def _show_tests(readings: Sequence[Measured], point: str) -> None:
    first, *others = readings
    st.markdown("## Do they differ, or is it chance?")
    rows = []
    for other in others:
        try:
            found = comparison.paired(first, other, point)
        except ComparisonError as error:
            st.warning(str(error))
            continue
        rows.append(
            {
                "against": other.run.name,
                "pictures": found.pictures,
                "AUC difference": str(found.auc.difference),
                "p (DeLong)": _p_value(found.auc.p_value),
                f"only {first.run.name} right": found.calls.only_a,
                "only the other right": found.calls.only_b,
                "p (McNemar)": _p_value(found.calls.p_value),
            }
        )
    if rows:
        show_table(pd.DataFrame(rows), "tests", "Paired tests on the same pictures")
        st.caption(
            "On the pictures that both runs have. DeLong asks whether the areas under the ROC "
            "curves differ (by patient, Obuchowski 1997), McNemar whether the calls do, each run "
            "at its own threshold. Below 0.05 chance is an unlikely explanation; with several "
            "comparisons, ask for less."
        )


def _p_value(p: float) -> str:
    return "undefined" if p != p else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _show_ensemble(readings: Sequence[Measured], point: str) -> None:
    st.markdown("## Together")
    try:
        table = comparison.ensemble_table(readings, point)
    except ComparisonError as error:
        st.warning(str(error))
        return
    show_table(table.rename(columns=METRIC_TITLES), "ensemble", "The runs' mean and each run alone")
    st.caption(
        "The mean of the runs' calibrated probabilities, calibrated anew, its operating point "
        "chosen on validation, on the pictures that all of them have."
    )

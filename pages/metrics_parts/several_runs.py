"""Tabs that show runs beside each other: curves, and the comparison."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from cxrlib.evaluation import compare_runs
from cxrlib.evaluation.compare_runs import ComparisonError
from cxrlib.evaluation.run_on_split import Curves, Measured
from cxrlib.formatting import decimal, metric, rate
from cxrlib.metrics import McNemar, from_columns
from cxrlib.runs.contents import METRIC_TITLES
from cxrlib.runs.folder import Run, RunError
from pages.shared.downloadable import show_chart, show_table
from pages.shared.permissions import allowed
from pages.shared.runs_at_hand import button_to
from pages.shared.text import plain

_FILTERS = ("trained on", "network", "size", "augmentation", "imbalance", "split")
# What tells one measured run from another in a cache.
_MEASURED_BY: dict[str | type[Any], Callable[[Any], Any]] = {
    Measured: lambda item: (item.run.name, item.split, item.metrics, item.predictions)
}
_NAME_WIDTH = 170  # pixels: a long name shall not push the numbers out of sight


def show_curves(readings: Sequence[Measured], point: str) -> None:
    """ROC and precision–recall of the run in use and those it is compared with."""
    if len(compare_runs.by_images(readings)) > 1:
        st.warning(
            "These runs were measured on different images: a higher curve need not mean a better "
            "run. *Compare* tests them on the images that they share.",
            icon=":material/difference:",
        )
    names = " and ".join(reading.run.name for reading in readings)
    stem = f"{readings[0].run.name}-{readings[0].split}"
    curves = _curves(readings, point)
    corner = st.toggle(
        "Enlarge the corner", key="corner", bind="query-params", help="Where good runs differ."
    )
    roc, recall = st.columns(2, gap="medium")
    with roc:
        st.markdown("**ROC**")
        chart = curves.roc_chart(corner=corner)
        show_chart(chart, curves.roc_figure, f"{stem}-roc", f"ROC curve of {names}")
    with recall:
        st.markdown("**Precision–recall**")
        chart = curves.precision_recall_chart(corner=corner)
        drawn = curves.precision_recall_figure
        alt = f"Precision–recall curve of {names}"
        show_chart(chart, drawn, f"{stem}-precision-recall", alt)
    st.caption(
        "Point at a curve to see the threshold and what it gives. Shaded: 95 % band, by resampling "
        "patients. Large dot: operating point. Dotted: chance."
    )
    found = {reading.run.name: reading.estimates(point) for reading in readings}
    shown = {"metric": METRIC_TITLES.values()} | {
        run: [metric(name, estimates[name]) for name in METRIC_TITLES]
        for run, estimates in found.items()
    }
    show_table(
        pd.DataFrame(shown),
        f"{stem}-metrics",
        "Every metric with its 95 % interval",
        csv=pd.concat(reading.table(point).assign(run=reading.run.name) for reading in readings),
    )


# Bands are resampled, and the page is drawn again whenever something on it is chosen.
@st.cache_resource(max_entries=10, show_spinner=False, hash_funcs=_MEASURED_BY)
def _curves(readings: Sequence[Measured], point: str) -> Curves:
    return Curves(readings, point)


def show_comparison(readings: Sequence[Measured], known: Sequence[Measured], point: str) -> None:
    """All runs in a table; those chosen beside each other, tested in pairs and put together."""
    _show_all(known, point)
    if len(known) == 1:
        st.info("There is no other run to compare with yet.", icon=":material/info:")
        st.page_link("pages/training.py", label="Train one", icon=":material/model_training:")
        return
    if len(readings) == 1:
        st.info(
            "Choose other runs under *Compare with* to see how they were trained, whether they "
            "differ, and how good their mean is."
        )
        return
    st.markdown("## How they were trained")
    differences = compare_runs.configuration_differences([item.run for item in readings])
    if differences.empty:
        st.caption("All settings are the same.")
    else:
        show_table(
            differences.reset_index(),
            "settings",
            "Settings in which the runs differ",
            columns={"setting": st.column_config.TextColumn(pinned=True)}
            | {name: st.column_config.TextColumn(width=_NAME_WIDTH) for name in differences},
        )
    _show_tests(readings, point)
    _show_ensemble(readings, point)


def _show_all(known: Sequence[Measured], point: str) -> None:
    groups = compare_runs.by_images(known)
    tables = [compare_runs.run_table(group, point) for group in groups]
    table = pd.concat(
        [one.assign(group=number) for number, one in enumerate(tables)], ignore_index=True
    )
    choices = {name: sorted(table[name].unique()) for name in _FILTERS}
    choices = {name: values for name, values in choices.items() if len(values) > 1}
    if choices:
        place, total = st.container(horizontal=True, vertical_alignment="center"), len(table)
        with place.popover("Filter", icon=":material/filter_list:"):
            for name, values in choices.items():
                kept = st.multiselect(
                    name.capitalize(),
                    values,
                    key=f"only_{name}",
                    bind="query-params",
                    persist_state="session",
                    placeholder="all",
                )
                if kept:
                    table = table[table[name].isin(kept)]
        if len(table) < total:
            place.caption(f"{len(table)} of {total} runs")
        if table.empty:
            st.info("No run matches. Remove a filter.", icon=":material/filter_alt_off:")
            return
    columns: dict[str, Any] = {name: name.capitalize() for name in table}
    columns |= {name: METRIC_TITLES[name] for name in compare_runs.TABLE_METRICS}
    columns["run"] = st.column_config.TextColumn("Run", width=_NAME_WIDTH, pinned=True)
    columns["pictures"] = "Images"
    columns |= {
        f"{name} interval": st.column_config.TextColumn("95 % interval")
        for name in ("roc_auc", "sensitivity", "specificity")
    }
    for number, rows in table.groupby("group"):
        if len(groups) > 1:
            st.markdown(
                f"**{rows.pictures.iloc[0]} images** of the run in use"
                if number == 0
                else f"**{rows.pictures.iloc[0]} other images**, not comparable with those above"
            )
        show_table(
            rows.drop(columns="group"),
            "runs" if number == 0 else f"runs-{number + 1}",
            f"Finished runs, group {number + 1} of {len(groups)}, measured on the same images; "
            "select a heading to sort",
            columns=columns,
            formats={name: partial(metric, name) for name in compare_runs.TABLE_METRICS}
            | {"threshold": rate},
        )


def _show_tests(readings: Sequence[Measured], point: str) -> None:
    first, *others = readings
    st.markdown("## Paired tests")
    rows = []
    for other in others:
        try:
            found = compare_runs.paired(first, other, point)
        except ComparisonError as error:
            st.warning(str(error))
            continue
        rows.append(
            {
                "against": other.run.name,
                "images": found.pictures,
                "AUC difference": decimal(found.auc.difference),
                "p (DeLong)": _p_value(found.auc.p_value),
                "p (McNemar, all)": _p_value(found.calls.p_value),
                "pneumonias detected only by this / the other": _discordant(found.sensitivity),
                "p (sensitivity)": _p_value(found.sensitivity.p_value),
                "normals ruled out only by this / the other": _discordant(found.specificity),
                "p (specificity)": _p_value(found.specificity.p_value),
            }
        )
    if rows:
        show_table(
            pd.DataFrame(rows),
            "tests",
            "Paired tests on the same images",
            columns={"against": st.column_config.TextColumn(width=_NAME_WIDTH, pinned=True)},
        )
        st.caption(
            f"The run {plain(first.run.name)}, on the images that both runs held out. DeLong tests "
            "the difference in ROC-AUC (clustered by patient; Obuchowski 1997). McNemar tests the "
            "calls, each run at its own threshold, over all images and within each class, so that "
            "gains in one class cannot hide losses in the other. With several comparisons, "
            "require a p-value well below 0.05."
        )


def _discordant(found: McNemar) -> str:
    return f"{found.only_a} / {found.only_b}"


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else decimal(p)


def _show_ensemble(readings: Sequence[Measured], point: str) -> None:
    st.markdown("## Mean of the runs")
    try:
        table = _ensemble_table(readings, point)
    except ComparisonError as error:
        st.warning(str(error))
        return
    shown = table[["run", "pictures", "threshold"]].rename(columns={"pictures": "images"})
    for name in compare_runs.ENSEMBLE_METRICS:
        shown[METRIC_TITLES[name]] = [
            metric(name, from_columns(name, row)) for row in table.to_dict("records")
        ]
    show_table(
        shown,
        "ensemble",
        "The runs' mean and each run alone",
        csv=table,
        columns={"run": st.column_config.TextColumn(width=_NAME_WIDTH, pinned=True)},
        formats={"threshold": rate},
    )
    st.caption(
        "The mean of the runs' calibrated probabilities, recalibrated, with its operating point "
        "chosen on validation, on the images that all of the runs share."
    )
    if allowed():
        _offer_to_save([item.run for item in readings])


# Takes seconds, and the page is drawn again whenever something on it is chosen or typed.
@st.cache_data(
    max_entries=20,
    show_spinner="Averaging the runs",
    hash_funcs=_MEASURED_BY,
)
def _ensemble_table(readings: Sequence[Measured], point: str) -> pd.DataFrame:
    return compare_runs.ensemble_table(readings, point)


def _offer_to_save(members: Sequence[Run]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Save this mean as a run",
            f"mean-of-{len(members)}",
            key="ensemble_name",
            width=320,
            help="It reads X-rays like any other run, with all of its members.",
        )
        st.button("Save as a run", icon=":material/save:", on_click=_save_ensemble, args=(members,))
    names, outcome = st.session_state.get("ensemble_outcome", ([], None))
    if names != [member.name for member in members]:
        return  # that mean was of other runs
    if isinstance(outcome, str):
        st.error(plain(outcome))
    else:
        st.success(f"Saved as {plain(outcome.name)}.", icon=":material/check:")
        with st.container(horizontal=True):
            button_to(
                "pages/diagnose.py", outcome, "Read X-rays with it", icon=":material/radiology:"
            )
            st.button(
                "See its numbers",
                icon=":material/monitoring:",
                type="tertiary",
                on_click=_show_run,
                args=(outcome.name,),
            )


def _show_run(name: str) -> None:
    st.session_state.run = name
    st.session_state.tab = "Curves"


def _save_ensemble(members: Sequence[Run]) -> None:
    outcome: Run | str
    try:
        outcome = compare_runs.save_ensemble(st.session_state.ensemble_name.strip(), members)
    except (ComparisonError, RunError, OSError) as error:
        outcome = str(error)
    st.session_state.ensemble_outcome = [member.name for member in members], outcome

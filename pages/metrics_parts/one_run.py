"""Tabs about the run in use: threshold, calibration, subgroups, learning."""

import math
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from cxrlib import metrics, plots
from cxrlib.data import index_cache, shortcuts
from cxrlib.data.dataset import DatasetError
from cxrlib.evaluation import compare_runs, subgroups, three_classes
from cxrlib.evaluation.run_on_split import CALIBRATION_IMAGES, Measured
from cxrlib.formatting import PERCENT_SIGN, RATES, UNDEFINED, metric, percent, rate
from cxrlib.images.radiograph import RadiographError
from cxrlib.metrics import Confusion, Estimate
from cxrlib.runs import ensembles
from cxrlib.runs.folder import Run
from pages.metrics_parts.errors import images_of
from pages.shared.downloadable import offer_downloads, show_chart, show_figure, show_table
from pages.shared.text import plain


# Alone, without the rest of the page, it is drawn again at once.
@st.fragment
def show_threshold(measured: Measured, point: str, prevalence_of_page: float) -> None:
    """Move the threshold and the prevalence, and see what becomes of a thousand patients."""
    left, right = st.columns(2, gap="medium")
    threshold = _threshold(left, measured, point)
    prevalence = prevalence_slider(right, measured)
    if prevalence != prevalence_of_page:
        st.rerun()  # the report is written for it
    matrix = measured.confusion(threshold)
    name = f"{measured.run.name}-{measured.split}"
    if not 0 < measured.prevalence < 1:
        st.info("These images are all of one class: frequencies per patient cannot be computed.")
        return
    people = metrics.natural_frequencies(matrix, prevalence)
    drawing, numbers = st.columns([3, 2], gap="medium")
    with drawing:
        st.markdown("**1,000 patients**")
        show_figure(
            plots.patients_figure(people),
            f"{name}-patients",
            f"Of 1,000 patients: {people.tp} true positives, {people.fn} false negatives, "
            f"{people.fp} false positives, {people.tn} true negatives",
        )
    with numbers:
        st.markdown(_in_words(people))
        found = _estimates(matrix, prevalence)
        show_table(
            pd.DataFrame(
                {
                    "metric": list(found),
                    "value (95 % interval)": [
                        _factor(estimate) if title.endswith("ratio") else rate(estimate)
                        for title, estimate in found.items()
                    ],
                }
            ),
            f"{name}-threshold",
            "Metrics at this threshold",
            csv=pd.DataFrame({"metric": title} | vars(found[title]) for title in found),
        )
    spread, cells = st.columns([3, 2], gap="medium")
    with spread:
        st.markdown("**Probabilities by class**")
        show_chart(
            measured.histogram_chart(threshold),
            partial(measured.histogram_figure, threshold),
            f"{name}-threshold-probabilities",
            "Histograms of the probability by class, with the threshold as a line",
        )
    with cells:
        st.markdown("**Confusion matrix**")
        show_figure(
            plots.confusion_figure(matrix),
            f"{name}-confusion",
            f"{matrix.tp} true positives, {matrix.fn} false negatives, "
            f"{matrix.fp} false positives, {matrix.tn} true negatives",
        )


def _threshold(place: st.delta_generator.DeltaGenerator, measured: Measured, point: str) -> float:
    """The threshold that is set; an operating point's own, to all its digits, where it is."""
    chosen = measured.points[point].threshold
    shown = round(100 * chosen, 1)
    # Another run or operating point in the sidebar moves the threshold there.
    basis = (measured.run.name, point)
    if st.session_state.setdefault("threshold_of", basis) != basis:
        st.session_state.threshold_of = basis
        st.session_state.threshold = shown
    elif "threshold" not in st.session_state and "threshold" not in st.query_params:
        st.session_state.threshold = shown
    value = place.slider(
        "Threshold",
        0.0,
        100.0,
        step=0.1,
        format=f"%.1f{PERCENT_SIGN}%",
        key="threshold",
        bind="query-params",
        persist_state="session",
        help="An image is called positive if the calibrated probability is at least this. The "
        "run's operating points are in the sidebar.",
    )
    return chosen if value == shown else value / 100


def prevalence_slider(place: st.delta_generator.DeltaGenerator, measured: Measured) -> float:
    """The share of patients who have pneumonia, 0..1."""
    return (
        place.slider(
            "Prevalence of pneumonia",
            1,
            99,
            10,
            format="%d %%",
            key="prevalence",
            bind="query-params",
            persist_state="session",
            help=f"Among these images it is {percent(measured.prevalence)}. In practice "
            "it is usually lower, and predictive values depend on it.",
        )
        / 100
    )


def _in_words(people: Confusion) -> str:
    positive, negative = people.tp + people.fn, people.fp + people.tn
    lines = [
        f"**{positive}** have pneumonia: {people.tp} detected, **{people.fn} missed**.",
        f"**{negative}** do not: {people.tn} true negatives, **{people.fp} false positives**.",
        f"Of {people.tp + people.fp} positive results, {people.tp} are true.",
        f"Of {people.fn + people.tn} negative results, {people.fn} are false.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _estimates(matrix: Confusion, prevalence: float) -> dict[str, Estimate]:
    proportions = matrix.proportions()
    ppv, npv = metrics.predictive_values(matrix, prevalence)
    positive, negative = metrics.likelihood_ratios(matrix)
    return {
        "Sensitivity": proportions["sensitivity"],
        "Specificity": proportions["specificity"],
        "Positive predictive value": ppv,
        "Negative predictive value": npv,
        "Positive likelihood ratio": positive,
        "Negative likelihood ratio": negative,
    }


def _factor(ratio: Estimate) -> str:
    """A likelihood ratio, which may be infinite, to two digits."""
    if math.isnan(ratio.value):
        return UNDEFINED
    value, low, high = (
        "∞" if math.isinf(end) else f"{end:.2f}" if end < 10 else f"{end:.0f}"
        for end in (ratio.value, ratio.low, ratio.high)
    )
    return f"{value} ({low}–{high})"


def show_calibration(measured: Measured, point: str) -> None:
    """Whether a probability means what it says."""
    name = f"{measured.run.name}-{measured.split}"
    curve, spread = st.columns(2, gap="medium")
    with curve:
        st.markdown("**Calibration: observed frequency by predicted probability**")
        show_chart(
            plots.calibration_chart(measured.calibration_curves),
            measured.calibration_figure,
            f"{name}-calibration",
            "Calibration curve before and after calibration",
        )
    with spread:
        st.markdown("**Probabilities by class**")
        threshold = measured.points[point].threshold
        show_chart(
            measured.histogram_chart(threshold),
            partial(measured.histogram_figure, threshold),
            f"{name}-probabilities",
            "Histograms of the probability by class, with the threshold as a line",
        )
    st.caption(
        "On the dotted line, 70 of 100 images with a probability of 70 % show pneumonia. Each "
        f"point covers at least {CALIBRATION_IMAGES} images, with its 95 % interval. ECE, the "
        "calibration error, is the mean distance from the line. Calibration (a temperature, "
        f"{measured.metrics['calibration']['temperature']:.2f}, and an offset for each class) was "
        "fitted on validation for the lowest log loss; where the ECE was already small, it may "
        "rise a little."
    )


def show_subgroups(measured: Measured, point: str) -> None:
    """The same numbers on parts of the images."""
    if by_class := measured.by_class:
        _show_classes(measured, by_class)
    threshold = measured.points[point].threshold
    groups = subgroups.by_subtype(measured.predictions, threshold)
    if st.toggle(
        "Also by size and exposure",
        key="files",
        bind="query-params",
        help="Reads the images, which takes some seconds the first time.",
    ):
        folder = images_of(measured)
        if folder is not None:
            groups |= _by_file(measured, threshold, folder)
    name = f"{measured.run.name}-{measured.split}-subgroups"
    show_table(
        subgroups.as_table(groups),
        name,
        "Metrics of each subgroup",
        csv=subgroups.as_numbers(groups),
    )
    for column, (measure, title) in zip(
        st.columns(3),
        {
            "roc_auc": "ROC-AUC",
            "sensitivity": "Sensitivity",
            "specificity": "Specificity",
        }.items(),
        strict=True,
    ):
        with column:
            show_figure(
                plots.intervals_figure(
                    {label: getattr(group, measure) for label, group in groups.items()},
                    title,
                    in_percent=measure in RATES,
                ),
                f"{name}-{measure}",
                f"{title} of each subgroup with its 95 % interval",
            )
    st.caption(
        "Each subtype is compared with all normal images, so its specificity is the same. Small "
        "groups have wide intervals: a difference within them means little."
    )


def _show_classes(measured: Measured, found: three_classes.ByClass) -> None:
    """Which of three classes is taken for which."""
    name = f"{measured.run.name}-{measured.split}-classes"
    st.markdown("**The most probable of the three classes**")
    drawing, numbers = st.columns([2, 3], gap="medium")
    with drawing:
        show_figure(
            plots.classes_figure(found.counts, three_classes.NAMES),
            name,
            "How often each class was most probable, for each true class",
        )
    with numbers:
        table = found.table()
        show_table(
            table,
            name,
            "How often each class was most probable, by true class",
            csv=table.drop(columns="recognized"),  # which the counts give
        )
        st.markdown(found.sentence())
        left_out = f" Left out: {found.unknown} whose names do not say." if found.unknown else ""
        st.caption(
            "Whether a pneumonia is bacterial or viral is known only from the data set's file "
            f"names; on a radiograph the two look very similar.{left_out}"
        )
    st.markdown("**Pneumonia against normal, by subtype**")


def _by_file(measured: Measured, threshold: float, folder: Path) -> dict[str, subgroups.Subgroup]:
    try:
        table = index_cache.cached_index(folder)
        root = table.attrs["root"]
        table = measured.predictions.merge(table[["path", "width", "height", "digest"]], on="path")
        if table.empty:
            st.caption("The data-set folder has none of these images.")
            return {}
        table.attrs["root"] = root
        with st.spinner("Measuring the images"):
            brightness = shortcuts.exposure(table).brightness
    except (DatasetError, RadiographError, OSError) as error:
        st.warning(str(error))
        return {}
    return subgroups.by_thirds(table, table.height, "height", threshold) | subgroups.by_thirds(
        table, brightness, "brightness", threshold
    )


def show_learning(measured: Measured) -> None:
    """How training went, of an ensemble that of each member."""
    networks = ensembles.networks(measured.run)
    for run in networks:
        if len(networks) > 1:
            st.markdown(f"## {plain(run.name)}")
        _show_training(run)


def _show_training(run: Run) -> None:
    history = run.history
    with st.grid(2, min_column_width=320):
        for title, chart in plots.learning_charts(history).items():
            with st.container():
                st.markdown(f"**{title}**")
                st.vega_lite_chart(chart, width="stretch", alt=f"{title} by epoch")
    offer_downloads(lambda: plots.learning_figure(history), f"{run.name}-learning")
    if history.phase.nunique() > 1:
        st.caption("Dotted line: start of fine-tuning.")
    with st.expander("Settings"):
        asked = compare_runs.settings(run).rename("value").reset_index()
        show_table(asked, f"{run.name}-settings", f"Settings of {run.name}")
    st.markdown("**Epochs**")
    shown = history.assign(epoch=range(1, len(history) + 1)).rename(columns=_history_title)
    formats = {
        _history_title(name): _HISTORY_FORMATS.get(name, partial(metric, name.removeprefix("val_")))
        for name in history.columns[history.dtypes == "float"]
    }
    show_table(
        shown, f"{run.name}-history", f"{run.name}: one row an epoch", csv=history, formats=formats
    )


_HISTORY_FORMATS = {"learning_rate": "{:.1e}".format, "seconds": "{:.0f}".format}


def _history_title(column: str) -> str:
    """A column of a run's history, in words."""
    name = column.removeprefix("val_")
    return name.replace("auc", "AUC") + (", validation" if name != column else "")

"""What tells the classes apart without a look at the lungs."""

from collections.abc import Mapping

import altair as alt
import pandas as pd
import streamlit as st

from cxrlib import plots
from cxrlib.data import shortcuts
from cxrlib.labels import CLASSES
from pages.shared.text import plain

INTRODUCTION = (
    "A network learns whatever separates the classes. If the size of an image is enough, it need "
    "not look at the lungs. The table shows how well each simple measure alone separates pneumonia "
    "from normal: **an AUC of 0.5 is chance, 1 is always right**."
)


@st.cache_resource(max_entries=4, show_spinner=False)
def exposure_task(fingerprint: str, _table: pd.DataFrame) -> shortcuts.ExposureTask:
    task = shortcuts.ExposureTask(_table)
    task.join(timeout=0.5)  # long enough where it was measured before
    return task


@st.cache_data(max_entries=8, show_spinner="Comparing the classes")
def separations(
    fingerprint: str, known: tuple[str, ...], _table: pd.DataFrame, _values: pd.DataFrame
) -> pd.DataFrame:
    return shortcuts.separations(_table, _values)


@st.fragment(run_every=1)
def follow_exposure(task: shortcuts.ExposureTask) -> None:
    st.progress(
        task.share,
        "Measuring brightness and contrast of every image. This is done once; you can use other "
        "pages meanwhile.",
    )
    if not task.is_alive():
        st.rerun()


def show(table: pd.DataFrame, fingerprint: str) -> None:
    st.markdown(INTRODUCTION)
    task = exposure_task(fingerprint, table)
    if task.is_alive():
        follow_exposure(task)
    if task.problem:
        st.warning(plain(task.problem))
        st.button("Try again", icon=":material/refresh:", on_click=exposure_task.clear)
    values = shortcuts.measures(table, task.result)
    constant = {name: values[name].iloc[0] for name in values if values[name].nunique() == 1}
    values = values.drop(columns=list(constant))
    found = separations(fingerprint, tuple(values), table, values) if len(values.columns) else None
    show_found(found, {name: shortcuts.histogram(table, values[name]) for name in values}, constant)


def show_found(
    separations: pd.DataFrame | None,
    histograms: Mapping[str, pd.DataFrame],
    constant: Mapping[str, float],
) -> None:
    """What tells the classes apart.

    Args:
        separations: as `shortcuts.separations`; None where all measures are constant.
        histograms: `shortcuts.histogram` by measure.
        constant: measures with one value, and that value.
    """
    if constant:
        listed = ", ".join(
            f"{shortcuts.MEASURES[name].lower()} {value:.3g}" for name, value in constant.items()
        )
        st.caption(f"Identical in all images, so no shortcut: {listed}.")
    if separations is None:
        return
    st.dataframe(separations, hide_index=True, alt="How far simple measures separate the classes")
    st.caption(
        "AUC with 95 % interval, bootstrapped over patients; median and quartiles by class. "
        "Where an AUC is high, prefer the augmentation preset *strong*: it varies shape, "
        "sharpness and exposure, so that they help a network less. Where train and test "
        "differ, the shortcut fails on the test images."
    )
    with st.grid(3, min_column_width=280):
        for name, histogram in histograms.items():
            with st.container():
                show_spread(histogram, shortcuts.MEASURES[name])


def show_spread(histogram: pd.DataFrame, title: str) -> None:
    st.markdown(f"**{title}**")
    spread = histogram.replace({"label": CLASSES})
    scale = alt.Scale(domain=list(CLASSES.values()), range=list(plots.SERIES[:2]))
    chart = (
        alt.Chart(spread)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=alt.X("value:Q", title=None, scale=alt.Scale(zero=False, nice=False)),
            y=alt.Y(
                "share:Q",
                title="Share of the class",
                axis=alt.Axis(format=plots.PERCENT_TICKS, tickCount=3),
            ),
            color=alt.Color("label:N", title=None, scale=scale, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash(
                "label:N",
                title=None,
                scale=alt.Scale(domain=list(CLASSES.values()), range=[[1, 0], [5, 3]]),
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Class"),
                alt.Tooltip("value:Q", title="From", format=".4g"),
                alt.Tooltip("share:Q", title="Share", format=plots.RATE),
            ],
        )
        .properties(height=190)
        .configure(**plots.LOCALE)
    )
    st.altair_chart(chart, alt=f"{title}: distribution among normal and pneumonia images")

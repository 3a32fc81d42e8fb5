"""The tab of robustness: images changed on purpose, images from elsewhere, heatmaps tested."""

import pandas as pd
import streamlit as st

from cxrlib import plots
from cxrlib.evaluation import stress_table
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.formatting import percent, rate
from cxrlib.inference import methods
from cxrlib.metrics import from_columns
from pages.shared.downloadable import show_figure, show_table

_STRENGTHS = {"mild": "Mild", "strong": "Strong"}
# What the project asks of the run that it ships.
_MOST_CHANGED = 0.03


def show_robustness(measured: Measured) -> None:
    """What becomes of a run's verdicts and heatmaps when it is put to the test."""
    run = measured.run
    st.markdown("**Perturbed images**")
    if run.stress is None:
        st.info(
            "Not measured for this run yet. This command measures it in a few "
            f"minutes:\n\n`python -m cxrlib stress --data FOLDER --run {run.name}`"
        )
    else:
        _show_stress(run.stress, run.name)
    st.markdown("**How far to trust the heatmaps**")
    if run.faithfulness is None:
        st.info(
            "Not measured for this run yet. This command measures it in a few "
            f"minutes:\n\n`python -m cxrlib faithfulness --data FOLDER --run {run.name}`"
        )
    else:
        _show_faithfulness(run.faithfulness, run.name)


def _show_stress(table: pd.DataFrame, name: str) -> None:
    changed_on_purpose = table[table.pictures_of == table.pictures_of[0]]
    by_machine = table[table.group == stress_table.MACHINES]
    elsewhere = stress_table.external(table)
    worst = stress_table.worst_mild(table)
    st.markdown(
        f"The {worst.pictures} {worst.pictures_of} images, perturbed before the run "
        "reads them. Mild perturbations are common in practice: no more than "
        f"{percent(_MOST_CHANGED)} of the verdicts should change under any of them. Here "
        f"it is at most **{rate(worst.changed)}** ({worst.step})."
    )
    strength = st.segmented_control(
        "Steps",
        list(_STRENGTHS),
        default="mild",
        required=True,
        format_func=_STRENGTHS.__getitem__,
        key="steps",
        bind="query-params",
        label_visibility="collapsed",
    )
    rows = changed_on_purpose[changed_on_purpose.strength.isin(["none", strength])]
    rates, verdicts = st.columns(2, gap="large")
    with rates:
        _show_steps(
            rows, ("sensitivity", "specificity"), "Sensitivity and specificity", name, strength
        )
    with verdicts:
        _show_steps(
            rows[rows.strength != "none"],
            ("changed", "reversed"),
            "Share of verdicts",
            name,
            strength,
        )
    st.caption(
        "With 95 % intervals (Wilson). Dotted: unperturbed images. A verdict (likely, uncertain, "
        "unlikely or rejected) has *changed* if it differs from that on the unperturbed image, and "
        "is *reversed* if it went from likely to unlikely or back; the line is at "
        f"{percent(_MOST_CHANGED)}. "
        "Amounts in percent refer to the image's side."
    )
    if drawn := stress_table.on_drawn_opacities(table):
        st.markdown(drawn)
    with st.expander("Table of all perturbations"):
        show_table(
            stress_table.readable(changed_on_purpose).drop(columns="images"),
            f"{name}-stress",
            "Metrics and changed verdicts under every perturbation",
            csv=changed_on_purpose,
        )
    if not by_machine.empty:
        st.markdown("**By machine**")
        st.markdown(stress_table.by_machine(table))
        _show_unchanged(by_machine, f"{name}-machines", "Metrics by machine group")
    if not elsewhere.empty:
        st.markdown("**External data**")
        _show_unchanged(elsewhere, f"{name}-elsewhere", "Metrics on other images")


def _show_unchanged(rows: pd.DataFrame, stem: str, title: str) -> None:
    """A table of images that were read as they are."""
    shown = stress_table.readable(rows)[
        ["images", "ROC-AUC", "sensitivity", "specificity", "calibration error"]
    ]
    shown.insert(1, "number", rows.pictures.to_numpy())
    shown.insert(2, "with pneumonia", rows.pneumonia.to_numpy())
    show_table(shown, stem, title, csv=rows)


def _show_steps(
    rows: pd.DataFrame, metrics: tuple[str, str], title: str, name: str, strength: str
) -> None:
    found = {
        metric: {row["step"]: from_columns(metric, row) for row in rows.to_dict("records")}
        for metric in metrics
    }
    show_figure(
        plots.steps_figure(found, title, limit=_MOST_CHANGED if "changed" in metrics else None),
        f"{name}-{strength}-{metrics[0]}",
        f"{' and '.join(metrics)} under each perturbation, with 95 % intervals",
    )


def _show_faithfulness(table: pd.DataFrame, name: str) -> None:
    shown = methods.readable(table)
    show_table(
        shown,
        f"{name}-heatmaps",
        "How each heatmap method did, with 95 % intervals",
        csv=table,
        columns={"method": st.column_config.TextColumn(width=250)}
        | {
            measure.title: st.column_config.TextColumn(measure.title, help=measure.asks)
            for measure in methods.MEASURES.values()
        },
    )
    st.caption(
        "\n".join(
            f"- *{measure.title}*{f' ({measure.good} is good)' if measure.good else ''}: "
            f"{measure.asks}"
            for measure in methods.MEASURES.values()
            if measure.title in shown
        )
    )

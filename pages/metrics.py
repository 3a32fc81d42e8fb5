"""Judge runs: curves, thresholds, calibration, errors, and runs beside each other."""

import streamlit as st

from cxrlib import runs
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.formatting import interval, metric, rate
from cxrlib.runs import operating_points, provenance, records
from cxrlib.runs.contents import METRIC_TITLES
from pages.shared import front_door
from pages.shared.text import plain

TABS = (
    "Curves",
    "Threshold",
    "Calibration",
    "Errors",
    "Subgroups",
    "Robustness",
    "Learning",
    "Compare",
)
MOST_COMPARED = 5
HEADLINE = ("roc_auc", "sensitivity", "specificity", "ece")


@st.cache_resource(max_entries=100, show_spinner=False)
def read(_run: runs.Run, folder: str, modified: int, split: str) -> Measured:
    """A run on one split, read once for each state of its folder."""
    return Measured(_run, split)


def readings(split: str) -> tuple[dict[str, Measured], list[str]]:
    """The finished runs that were measured on a split, and what is wrong with the others."""
    found, problems = {}, []
    for run in runs.finished():
        try:
            run.check()
            if split in records.set_titles(run):
                found[run.name] = read(run, str(run.folder), run.measured_at, split)
        except runs.RunError as error:
            problems.append(str(error))
    return found, problems


def show_headline(measured: Measured, point: str, *, in_one_line: bool) -> None:
    """The four numbers that sum up a run, large or in one line, and on what they were measured."""
    estimates, counts = measured.estimates(point), measured.counts
    kind = provenance.trained_on(measured.metrics)
    if kind == "synthetic":
        st.warning(
            f"**Trained and measured on synthetic radiographs.** {provenance.SYNTHETIC_RUN}",
            icon=":material/science:",
        )
    shown = {name: estimates[name] for name in HEADLINE}
    if in_one_line:
        st.markdown(
            " · ".join(
                f"{METRIC_TITLES[name]} **{metric(name, found.value)}** ({interval(name, found)})"
                for name, found in shown.items()
            )
        )
        return
    with st.container(horizontal=True, gap="medium"):
        for name, found in shown.items():
            st.metric(
                METRIC_TITLES[name],
                metric(name, found.value),
                interval(name, found),
                delta_color="off",
                delta_arrow="off",
                width="content",
                help="With the 95 % confidence interval.",
            )
    remarks = ""
    if measured.split == "validation":
        remarks += (
            " Threshold and calibration were fitted on these images, so the figures are "
            "somewhat optimistic."
        )
    if measured.split == "validation" and "test" not in measured.metrics["splits"]:
        title = records.split_titles(measured.metrics)["test"]
        remarks += f" It has not been measured on {title} images."
    st.caption(
        f"Trained on {provenance.TITLES[kind]}. {counts['pictures']} images of "
        f"{counts['patients']} patients, {counts['pneumonia']} with pneumonia. Operating point: "
        f"{operating_points.POINT_TITLES[point]} (threshold "
        f"{rate(measured.points[point].threshold)}).{remarks}"
    )


def report_button(measured: Measured, point: str, prevalence: float) -> None:
    def report() -> str:
        from cxrlib.evaluation import html_report  # with what draws, half a second

        return html_report.html(measured, point, prevalence=prevalence)

    st.download_button(
        "Report as HTML",
        report,
        f"{measured.run.name}-{measured.split}-report.html",
        "text/html",
        icon=":material/description:",
        on_click="ignore",
        help="Figures, tables and model card of this run in one file, ready to print.",
    )


def show_tab(
    name: str, chosen: list[Measured], known: list[Measured], point: str, prevalence: float
) -> None:
    """One tab; only what it needs is loaded."""
    measured = chosen[0]
    if name in ("Curves", "Compare"):
        from pages.metrics_parts import several_runs

        if name == "Curves":
            several_runs.show_curves(chosen, point)
        else:
            several_runs.show_comparison(chosen, known, point)
        return
    from pages.metrics_parts import errors, one_run, robustness

    match name:
        case "Threshold":
            one_run.show_threshold(measured, point, prevalence)
        case "Calibration":
            one_run.show_calibration(measured, point)
        case "Errors":
            errors.show_errors(measured, point)
        case "Subgroups":
            one_run.show_subgroups(measured, point)
        case "Robustness":
            robustness.show_robustness(measured)
        case "Learning":
            one_run.show_learning(measured)


front_door.enter()
front_door.return_to_place("metrics")
st.title("Metrics", anchor=False)
if "run" not in st.session_state:
    st.info("There is no finished run in `models/`. Train one with `python train.py`.")
    st.stop()
point = st.session_state.point
prevalence = st.session_state.get("prevalence", 10) / 100
try:
    in_use = runs.find(st.session_state.run)
    titles = records.set_titles(in_use)
    splits = list(titles)
except runs.RunError as error:
    st.error(str(error))
    st.stop()
controls = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
split = controls.segmented_control(
    "Images",
    splits,
    default=splits[0],
    required=True,
    format_func=lambda split: titles[split][:1].upper() + titles[split][1:],
    key="pictures",
    bind="query-params",
    persist_state="session",
)
known, problems = readings(split)
if in_use.name not in known:
    st.error("\n\n".join(problems))
    st.stop()
measured = known[in_use.name]
others = controls.multiselect(
    "Compare with",
    [name for name in known if name != in_use.name],
    key="with",
    bind="query-params",
    persist_state="session",
    max_selections=MOST_COMPARED,
    placeholder="Other runs",
)
with controls:
    report_button(measured, point, prevalence)
for problem in problems:
    st.caption(f":material/block: {plain(problem)}")
headline = st.container()
chosen = [measured, *(known[name] for name in others)]
try:
    tabs = st.tabs(TABS, key="tab", bind="query-params")
    with headline:
        show_headline(measured, point, in_one_line=st.session_state.tab != TABS[0])
    for tab in tabs:
        if not tab.open:
            continue
        with tab:
            rest = [item for item in known.values() if item is not measured]
            show_tab(st.session_state.tab, chosen, [measured, *rest], point, prevalence)
except runs.RunError as error:
    st.error(str(error))

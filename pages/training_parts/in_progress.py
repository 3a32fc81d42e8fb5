"""Runs that are not finished: where they are, how they learn, stop and resume."""

import math
import time
from contextlib import suppress

import pandas as pd
import streamlit as st

from cxrlib import plots, runs
from cxrlib.formatting import PERCENT_SIGN, RATES, decimal
from cxrlib.images.preprocess import cache_folder
from cxrlib.networks import depth
from cxrlib.training import devices, jobs
from pages.shared.data_folder import show_problem
from pages.shared.text import plain
from pages.training_parts import actions, finished
from pages.training_parts.new_run import duplicate, duration

SECONDS = 2
VISIT = "training-visit"
WORDS = {
    "queued": (":material/hourglass_empty:", "queued"),
    "running": (":material/play_arrow:", "running"),
    "stopped": (":material/pause:", "stopped"),
    "failed": (":material/error:", "failed"),
    "interrupted": (":material/power_off:", "interrupted"),
}
REMARKS = {
    "stopped": "Progress is kept. Resuming continues with the next batch.",
    "interrupted": "The process ended unexpectedly: it was killed, ran out of memory, or the "
    "computer was restarted. Resuming continues after the last completed epoch.",
}
CURVES_HELP = {
    "Loss": "Training: the loss that is minimized, on augmented images. Validation: "
    "cross-entropy. Compare the shapes, not the levels."
}
CURVES = {
    "Loss": "loss",
    "AUC": "auc",
    f"Accuracy at 50{PERCENT_SIGN}": "accuracy",
    f"Sensitivity (recall) at 50{PERCENT_SIGN}": "sensitivity",
    f"Precision at 50{PERCENT_SIGN}": "precision",
    f"F1 at 50{PERCENT_SIGN}": "f1",
}


@st.fragment(run_every=SECONDS)
def show() -> None:
    """Polls small files only; the rest of the page stays as it is."""
    actions.show_problem()
    jobs.start_waiting(runs.MODELS)
    known = runs.unfinished()
    watched: set[str] = st.session_state.setdefault("training_watched", set())
    since = last_visit()
    done = [run for run in runs.finished() if run.name in watched or ended_after(run, since)]
    announced: set[str] = st.session_state.setdefault("training_done", set())
    if not announced.issuperset(run.name for run in done):
        announced.update(run.name for run in done)
        st.rerun()  # the sidebar offers the finished run from now on
    for run in done:
        with st.container(border=True):
            st.markdown(f":material/check_circle: **{plain(run.name)}** · finished")
            finished.show_results(run)
    for run in known:
        with st.container(border=True, key=f"card_{run.name}"):
            try:
                show_run(run, watched)
            except runs.RunError:
                st.caption("This run has just changed.")  # deleted or finished meanwhile
    if not known and not done:
        st.markdown("No run is in progress. Start one under *New run*.")


def last_visit() -> float:
    """When somebody last looked at runs in progress before this visit, seconds since 1970.

    Kept on disk, so that a run that ended overnight is still told of in the morning.
    """
    file = cache_folder() / VISIT
    if "training_visit" not in st.session_state:
        st.session_state.training_visit = file.stat().st_mtime if file.exists() else time.time()
    with suppress(OSError):  # a folder that may not be written: then each visit is the first
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return st.session_state.training_visit


def ended_after(run: runs.Run, since: float) -> bool:
    """Whether a run was trained on this machine to its end after a moment."""
    return run.log_file.exists() and run.finished_at > since


def show_run(run: runs.Run, watched: set[str]) -> None:
    state = jobs.state(run)
    if state == "finished":
        return
    watched.add(run.name)
    mark, words = WORDS[state]
    if run.stop_requested and state == "running":
        words = "stopping after this batch"
    heading, buttons = st.columns([3, 2], vertical_alignment="center")
    heading.markdown(f"{mark} **{plain(run.name)}** · {words}")
    with buttons.container(horizontal=True, horizontal_alignment="right"):
        show_buttons(run, state)
    # Each part has a place of its own: what comes and goes in one moves none of the others.
    remark, progress, curves = (st.container() for _ in range(3))
    with remark:
        if state == "failed":
            show_problem(run.failure)
        elif state == "queued" and (first := jobs.ahead(run)):
            st.caption(f"Waiting for {plain(first)} to finish.")
        elif state in REMARKS:
            st.caption(REMARKS[state])
        if address := devices.cluster_address(run.task["devices"]):
            dashboard = run.task.get("dashboard")
            link = f" · [Ray dashboard]({dashboard})" if dashboard else ""
            st.caption(f"On the cluster at {plain(address)}{link}")
    with progress:
        show_progress(run, state)
    with curves:
        show_curves(run)
    with st.expander("Log", expanded=state == "failed", key=f"log_{run.name}"):
        st.code(run.log_tail() or "Nothing yet.", language=None, wrap_lines=True)


def show_buttons(run: runs.Run, state: jobs.State) -> None:
    if state in ("queued", "running"):
        st.button(
            "Stop",
            key=f"stop_{run.name}",
            icon=":material/stop_circle:",
            disabled=run.stop_requested,
            on_click=run.request_stop,
        )
        return
    st.button(
        "Resume",
        key=f"resume_{run.name}",
        type="primary",
        icon=":material/play_arrow:",
        on_click=actions.resume,
        args=(run,),
    )
    with st.popover("More", icon=":material/more_horiz:"):
        actions.show_rename(run)
        if st.button(
            "New run with these settings",
            key=f"duplicate_{run.name}",
            icon=":material/content_copy:",
            on_click=duplicate,
            args=(run.task["config"],),
        ):
            st.rerun()
    actions.show_delete(run)


def show_progress(run: runs.Run, state: jobs.State) -> None:
    now = run.progress
    if "step" not in now:
        if state == "running":
            words = (now.get("activity") or "starting").capitalize()
            done, of = now.get("done", 0), now.get("of", 0)
            st.progress(done / of if of else 0.0, f"{words}: {done} of {of}" if of else words)
        return
    share = ((now["epoch"] - 1) * now["steps"] + now["step"]) / (now["epochs"] * now["steps"])
    words = f"{now['phase'].capitalize()}: epoch {now['epoch']} of at most {now['epochs']}, "
    words += (
        f"step {now['step']} of {now['steps']}" if now["activity"] == "training" else "validating"
    )
    if now["seconds_left"] is not None and state == "running":
        words += f" · {duration(now['seconds_left'])} left"
    st.progress(share, words)
    if now["phase"] == "fine-tune":
        st.caption(f"Trains {trained_layers(run)}.")
    facts = [f"loss {decimal(now['loss'])}"]
    if state == "running":
        if now["images_per_second"]:
            facts.append(f"{now['images_per_second']:.0f} images a second")
        memory = memory_in_use(run, now["pid"])
        if memory:
            facts.append(f"{memory / 2**30:.1f} GB of memory in use")
    st.caption(" · ".join(facts))


def trained_layers(run: runs.Run) -> str:
    """Which layers are fine-tuned, in words."""
    config = run.config
    if count := config.get("fine_tune_layers"):
        return f"the last {count} of Keras' layers"
    return depth.describe(
        depth.names(config["network"], cnn_blocks=config.get("cnn_blocks", 4)),
        config.get("fine_tune_depth"),
    )


def memory_in_use(run: runs.Run, pid: int) -> int | None:
    """Bytes in use on the GPUs that the run trains on, or by its process on the CPU."""
    on = run.task["devices"]
    if on == ["cpu"]:
        return devices.process_memory(pid)
    return sum(device.used for device in actions.found_devices() if device.id in on)


def show_curves(run: runs.Run) -> None:
    if not run.has_history:
        return
    history = run.history
    shown = {title: name for title, name in CURVES.items() if name in history}
    st.caption("By epoch. Solid: training images. Dashed: validation images.")
    with st.grid(3, min_column_width=220):
        for title, name in shown.items():
            with st.container(gap="xsmall"):
                st.markdown(title, help=CURVES_HELP.get(title))
                st.vega_lite_chart(
                    curve(history, name),
                    height=170,
                    alt=f"{title} of training and validation by epoch",
                    key=f"{title}_{run.name}",
                )


def curve(history: pd.DataFrame, name: str) -> dict[str, object]:
    """One number of training and validation by epoch, counted through both phases (Vega-Lite).

    A plain specification: Altair would check it again at every look, which the run would feel.
    """
    in_percent = name in RATES
    series = {"training": name, "validation": f"val_{name}"}
    domain = list(series)
    return {
        "config": plots.LOCALE,
        "data": {
            "values": [
                {"epoch": epoch, "pictures": pictures, "value": value}
                for pictures, column in series.items()
                for epoch, value in enumerate(history[column].tolist(), start=1)
                if math.isfinite(value)  # nothing called positive has no precision
            ]
        },
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": None,
                "axis": {"tickMinStep": 1, "format": "d"},
                "scale": {"nice": False, "zero": False},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": None,
                "axis": {"format": plots.PERCENT_TICKS} if in_percent else {},
                "scale": {"zero": False},
            },
            "tooltip": [
                {"field": "pictures", "title": "Images"},
                {"field": "epoch", "title": "Epoch"},
                {
                    "field": "value",
                    "title": "Value",
                    "format": plots.RATE if in_percent else plots.DECIMAL,
                },
            ],
            "color": {
                "field": "pictures",
                "legend": None,
                "scale": {"domain": domain, "range": plots.SERIES[:2]},
            },
            "strokeDash": {
                "field": "pictures",
                "legend": None,
                "scale": {"domain": domain, "range": [[1, 0], [5, 3]]},
            },
        },
    }

"""Finished runs: what they came to, and what can be done with them."""

import streamlit as st

from cxrlib import runs
from cxrlib.runs import ensembles, provenance, records
from cxrlib.runs.config import describe_augmentation
from cxrlib.training import jobs
from pages.shared.runs_at_hand import button_to
from pages.shared.text import plain
from pages.training_parts import actions
from pages.training_parts.new_run import duplicate


def show(*, may_change: bool) -> None:
    known = runs.finished()
    if not known:
        st.markdown("No finished runs yet.")
    for run in known:
        with st.container(border=True):
            try:
                members = ensembles.member_names(run)
                st.markdown(f"**{plain(run.name)}** · {summary(run, members)}")
                show_results(run)
                if not members:
                    show_actions(run, may_change=may_change)
                elif may_change and run.name != runs.SHIPPED:
                    with st.container(horizontal=True):
                        with st.popover("More", icon=":material/more_horiz:"):
                            actions.show_rename(run)
                        actions.show_delete(run)
            except runs.RunError as error:
                st.markdown(f":gray[:material/block: **{plain(run.name)}** · {plain(error)}]")
                if may_change and run.name != runs.SHIPPED:
                    actions.show_delete(run)


def summary(run: runs.Run, members: list[str]) -> str:
    if members:
        return f"mean of {' and '.join(plain(member) for member in members)}"
    config = run.config
    kind = provenance.TITLES[provenance.trained_on(run.metrics)]
    return (
        f"{config['network']}, {config['size']} px, augmentation {describe_augmentation(config)}, "
        f"trained on {kind}"
    )


def show_results(run: runs.Run) -> None:
    """AUC on what the run was measured on, and the way to all its numbers."""
    measured = run.metrics
    synthetic = "synthetic " if provenance.trained_on(measured) == "synthetic" else ""
    found = []
    sets = measured["splits"] | run.kept
    for split, words in records.set_titles(run).items():
        auc = records.estimates_of(sets[split], measured["default_point"])["roc_auc"]
        found.append(
            f"AUC {auc} on {synthetic if split in measured['splits'] else ''}{plain(words)}"
        )
    st.caption(" · ".join(found))
    button_to(
        "pages/metrics.py", run, "Curves, errors and calibration", icon=":material/monitoring:"
    )


def show_actions(run: runs.Run, *, may_change: bool) -> None:
    with st.container(horizontal=True):
        st.download_button(
            "Model as .keras",
            run.model_file.read_bytes,
            f"{run.name}.keras",
            key=f"keras_{run.name}",
            icon=":material/download:",
            on_click="ignore",
        )
        if not may_change:
            return
        with st.popover("More", icon=":material/more_horiz:"):
            st.download_button(
                "Model as .h5",
                lambda: jobs.as_h5(run),
                f"{run.name}.h5",
                key=f"h5_{run.name}",
                icon=":material/download:",
                on_click="ignore",
                help="Keras' older format. It is written on request, which takes some seconds.",
            )
            st.button(
                "New run with these settings",
                key=f"duplicate_{run.name}",
                icon=":material/content_copy:",
                on_click=duplicate,
                args=(run.config,),
            )
            if run.name != runs.SHIPPED:
                actions.show_rename(run)
            st.caption("Repeat this run, or open its history in TensorBoard:")
            st.code(
                f"python train.py --config {run.folder / 'config.json'} --name {run.name}-again\n"
                f"tensorboard --logdir {run.tensorboard_folder}",
                language=None,
                wrap_lines=True,
            )
        if run.name != runs.SHIPPED:
            actions.show_delete(run)

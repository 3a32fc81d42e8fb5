"""Sweeps: several values a setting from the form, the trials' curves, the best so far."""

import json
import math
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st
from pydantic import ValidationError

from cxrlib import plots, runs, urls
from cxrlib.runs import sweeps
from cxrlib.runs.config import LEGACY_FIELDS, problems
from cxrlib.runs.sweeps import Sweep, SweepError, Trial
from cxrlib.training import devices, sweep
from pages.shared import data_folder
from pages.shared.permissions import allowed
from pages.shared.text import plain
from pages.training_parts import actions
from pages.training_parts.fields import FIELDS, in_form, title

SECONDS = 2
MOST_FIELDS = 3
FIXED = {"name", "split_seed", "validation_fraction", "distribute", *LEGACY_FIELDS}


def show() -> None:
    show_form()
    show_kept()


def show_form() -> None:
    place = data_folder.place_in_use()
    if not place or "new_network" not in st.session_state:
        st.markdown("Fill in *New run* first: a sweep varies some of its settings.")
        return
    with st.expander("New sweep", icon=":material/grid_view:", expanded=not kept()):
        st.markdown(
            "Trains a run for every combination of some values; the other settings are those of "
            "*New run*."
        )
        chosen = st.multiselect(
            "Settings to vary",
            [name for name in FIELDS if name not in FIXED],
            format_func=title,
            max_selections=MOST_FIELDS,
            placeholder=f"Up to {MOST_FIELDS}",
            key="sweep_fields",
        )
        values = {
            name: parsed(
                st.text_input(
                    f"Values of {title(name).lower()}",
                    placeholder="separated by commas",
                    key=f"sweep_values_{name}",
                    help=f"{FIELDS[name].description}.",
                )
            )
            for name in chosen
        }
        name = st.text_input("Name of the sweep", placeholder="date and time", key="sweep_name")
        addresses = [devices.cluster_address([device.id]) for device in devices.found()]
        cluster = ""
        if any(addresses):
            cluster = st.selectbox(
                "Where",
                ["", *filter(None, addresses)],
                format_func=lambda address: (
                    f"Ray cluster at {address}" if address else "This machine"
                ),
                key="sweep_cluster",
            )
        asked, problem = checked(values, name.strip(), urls.absolute(place), cluster)
        if not all(values.values()) or not values:
            st.caption("Choose settings, and give each its values.")
        elif problem:
            st.error(plain(problem))
        count = math.prod(len(found) for found in values.values()) if values else 0
        st.button(
            f"Start {count} runs" if count else "Start",
            type="primary",
            icon=":material/play_arrow:",
            disabled=asked is None,
            on_click=launch,
            args=(asked,),
        )


def parsed(text: str) -> list[Any]:
    """Values separated by commas: numbers and true or false as such, else words."""
    found: list[Any] = []
    for word in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(json.loads(word.lower()))
        except ValueError:
            found.append(word)
    return found


def checked(
    values: dict[str, list[Any]], name: str, data: str, cluster: str
) -> tuple[Sweep | None, str]:
    """The sweep that the form asks for, or what is wrong with it."""
    settings = {
        field: st.session_state[f"new_{field}"]
        for field in FIELDS
        if field not in values and field != "name" and f"new_{field}" in st.session_state
    }
    try:
        asked = Sweep(
            name=name or f"sweep-{datetime.now():%m%d-%H%M}",
            data=data,
            cluster=cluster or None,
            settings=settings,
            values=values,
        )
        asked.configurations()
    except ValidationError as error:
        return None, in_form(" ".join(problems(error).values()))
    except SweepError as error:
        return None, in_form(str(error))
    return asked, ""


def launch(asked: Sweep) -> None:
    with actions.told():
        sweep.launch(asked, runs.MODELS)


def kept() -> list[Sweep]:
    try:
        return sweeps.kept(runs.MODELS)
    except SweepError as error:
        st.error(plain(str(error)))
        return []


@st.fragment(run_every=SECONDS)
def show_kept() -> None:
    """Polls small files only, as runs in progress do."""
    actions.show_problem()
    for asked in kept():
        with st.container(border=True, key=f"sweep_card_{asked.name}"):
            try:
                show_sweep(asked, sweeps.trials(asked, runs.MODELS))
            except (SweepError, runs.RunError) as error:
                st.caption(plain(str(error)))
            if not sweep.alive(asked, runs.MODELS) and allowed("delete"):
                show_delete(asked)


def show_delete(asked: Sweep) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(
            f"Delete the sweep **{plain(asked.name)}** from this list? Its runs stay, except those "
            "that were stopped early."
        )
        st.button(
            "Delete permanently",
            key=f"sweep_delete_{asked.name}",
            icon=":material/delete_forever:",
            on_click=delete,
            args=(asked,),
        )


def delete(asked: Sweep) -> None:
    with actions.told():
        sweep.delete(asked, runs.MODELS)


def show_sweep(asked: Sweep, known: list[Trial]) -> None:
    running = sweep.alive(asked, runs.MODELS)
    over = sum(trial.over for trial in known)
    heading, buttons = st.columns([3, 2], vertical_alignment="center")
    where = f" on the cluster at {plain(asked.cluster)}" if asked.cluster else ""
    heading.markdown(
        f"**{plain(asked.name)}** · {over} of {len(known)} trials done"
        f"{' · running' + where if running else ''}"
    )
    buttons = buttons.container(horizontal=True, horizontal_alignment="right")
    if running:
        buttons.button(
            "Stop",
            key=f"sweep_stop_{asked.name}",
            icon=":material/stop_circle:",
            on_click=sweep.stop,
            args=(asked, runs.MODELS),
        )
    elif over < len(known):
        buttons.button(
            "Continue",
            key=f"sweep_go_{asked.name}",
            type="primary",
            icon=":material/play_arrow:",
            on_click=launch,
            args=(asked,),
        )
    if found := sweeps.best(known):
        first, equals = found
        so_far = "" if over == len(known) else " so far"
        st.markdown(
            f"Best by validation{so_far}: **{plain(first.run.name)}**, AUC {first.validation_auc}"
        )
        if equals:
            names = ", ".join(trial.run.name for trial in equals)
            st.caption(f"Its interval reaches {plain(names)}: validation does not tell them apart.")
    if any(trial.run.has_history for trial in known):
        st.vega_lite_chart(
            curves(known, found[0].run.name if found else ""),
            height=230,
            alt="Validation AUC of each trial by epoch",
            key=f"sweep_curves_{asked.name}",
        )
    st.dataframe(
        in_words(sweeps.table(asked, known), running=running),
        hide_index=True,
        key=f"sweep_table_{asked.name}",
    )
    if log := sweep.log_tail(asked, runs.MODELS):
        failed = not running and over < len(known)
        with st.expander("Log", expanded=failed, key=f"sweep_log_{asked.name}"):
            st.code(log, language=None, wrap_lines=True)


def in_words(table: pd.DataFrame, *, running: bool) -> pd.DataFrame:
    """What `sweeps.table` returned, with the form's labels, of a sweep that is running or not."""
    if running:
        table = table.replace({"state": {"unfinished": "running"}})
    words = {"validation_auc": "Validation AUC"}
    return table.drop(columns="auc").rename(
        columns=lambda name: words.get(name) or (title(name) if name in FIELDS else name.title())
    )


def curves(known: list[Trial], best: str) -> dict[str, Any]:
    """Validation AUC by epoch, a line a trial, the best one's strong (Vega-Lite)."""
    histories: dict[str, pd.DataFrame] = {
        trial.run.name: trial.run.history for trial in known if trial.run.has_history
    }
    return {
        "data": {
            "values": [
                {"trial": name, "epoch": epoch, "value": value}
                for name, history in histories.items()
                for epoch, value in enumerate(history.val_auc.tolist(), start=1)
            ]
        },
        "mark": {"type": "line", "point": True, "tooltip": True},
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "title": "epoch",
                "axis": {"tickMinStep": 1, "format": "d"},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": "validation AUC",
                "scale": {"zero": False},
            },
            "detail": {"field": "trial"},
            "color": {
                "condition": {
                    "test": f"datum.trial === {json.dumps(best)}",
                    "value": plots.SERIES[0],
                },
                "value": "#8a8f98",
            },
            "tooltip": [
                {"field": "trial"},
                {"field": "epoch"},
                {"field": "value", "format": plots.DECIMAL},
            ],
        },
    }

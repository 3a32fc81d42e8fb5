"""The form of a new run, made from `TrainingConfig`; what it will take; the start."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from pydantic import ValidationError

from cxrlib import runs
from cxrlib.data import dataset, entries
from cxrlib.images import preprocess, radiograph
from cxrlib.images.style import style_of
from cxrlib.labels import is_pneumonia
from cxrlib.runs.config import (
    AMOUNTS,
    TrainingConfig,
    amounts,
    describe_augmentation,
    group_of,
    problems,
    repeat_settings,
)
from cxrlib.training import practice
from cxrlib.training.augment import PRESETS, augment, describe, recipe_of
from cxrlib.training.devices import Device, cluster_address
from cxrlib.training.estimate import estimate
from pages.shared import data_folder
from pages.shared.text import number, plain
from pages.training_parts import actions
from pages.training_parts.fields import (
    FIELDS,
    in_form,
    is_set_before,
    show_depth,
    show_field,
    starting_values,
    title,
)

VARIANTS = 6


def show() -> None:
    folder = data_folder.folder_in_use()
    table = None
    if folder:
        try:
            table = data_folder.load(str(folder), dataset.fingerprint(folder))
        except entries.UnknownClassesError as error:
            data_folder.ask_unknown(error)
        except (dataset.DatasetError, OSError) as error:
            data_folder.show_problem(str(error))
    if table is None or folder is None:
        st.header("Try it without a data set", anchor=False)
        show_practice()
        st.divider()
        st.header("Train on real X-rays", anchor=False)
        data_folder.ask_for_data()
        return
    data_folder.show_place(table, folder)
    show_form(table, Path(table.attrs["root"]))
    with st.expander("Try it on synthetic X-rays first", icon=":material/science:"):
        show_practice()


def show_practice() -> None:
    st.markdown(
        f"Trains a small network on synthetic radiographs of {practice.PATIENTS} patients, half of "
        "them with an opacity. It takes less than a minute on a CPU and works offline. The result "
        "says nothing about real patients."
    )
    st.button(
        "Train on synthetic X-rays",
        icon=":material/science:",
        on_click=actions.practise,
    )


def show_form(table: pd.DataFrame, root: Path) -> None:
    for name, value in starting_values(st.session_state.get("new_network")).items():
        st.session_state.setdefault(f"new_{name}", value)
    slots = {}
    with st.grid(4, min_column_width=190):
        for name, field in FIELDS.items():
            if group_of(field) == "Basic":
                with st.container(gap="xsmall"):
                    slots[name] = show_field(name, field)
        with st.container(gap="xsmall"):
            on = choose_devices()
    for group, icon in (
        ("Augmentation", ":material/blur_on:"),
        ("Advanced", ":material/tune:"),
        ("Research", ":material/science:"),
    ):
        with st.expander(group, icon=icon), st.grid(4, min_column_width=190):
            for name, field in FIELDS.items():
                if group_of(field) == group or (group == "Advanced" and is_set_before(name)):
                    with st.container(gap="xsmall"):
                        slots[name] = show_field(name, field)
                        if name == "fine_tune_depth":
                            show_depth()
    config, wrong = checked(table, on)
    for name, sentence in wrong.items():
        slots.get(name, st).error(plain(in_form(sentence)))
    if not wrong.keys() & {"size", *AMOUNTS}:
        show_preview(table, root)
    if config:
        show_start(config, table, on)
    else:
        where = ", ".join(title(name) for name in wrong if name) or "those marked above"
        st.button("Start training", type="primary", icon=":material/play_arrow:", disabled=True)
        st.caption(f"Fix these settings first: {where}.")


def duplicate(config: dict[str, Any]) -> None:
    """Fill the form with another run's configuration."""
    for name, value in (
        starting_values(config["network"]) | repeat_settings(config, runs.MODELS)
    ).items():
        st.session_state[f"new_{name}"] = value
    st.session_state.training_tab = "New run"


def choose_devices() -> list[Device]:
    """The devices to train on: one, or all GPUs where the batch shall be spread."""
    found = actions.found_devices()
    gpus = [device for device in found if device.is_gpu]
    if st.session_state.new_distribute and gpus:
        st.selectbox("Device", [f"all {len(gpus)} GPUs"], disabled=True)
        return gpus
    chosen = st.selectbox(
        "Device",
        found,
        format_func=lambda device: device.title,
        key="new_device",
        help="A device trains one run at a time; others are queued.",
    )
    return [chosen]


def is_cluster(on: list[Device]) -> bool:
    return bool(cluster_address([device.id for device in on]))


def checked(table: pd.DataFrame, on: list[Device]) -> tuple[TrainingConfig | None, dict[str, str]]:
    """The configuration that the form holds, or what is wrong with it by field."""
    values = {name: st.session_state[f"new_{name}"] for name in FIELDS}
    values["name"] = values["name"].strip() or None
    try:
        config = TrainingConfig(**values)
    except ValidationError as error:
        return None, problems(error)
    wrong = {}
    if config.name and (runs.MODELS / config.name).exists():
        wrong["name"] = "There is a run of that name already. Choose another name."
    learned = int((table.split != "test").sum() * (1 - config.validation_fraction))
    if config.batch_size > learned:
        wrong["batch_size"] = (
            f"Larger than the {learned} images to train on. Choose a smaller batch."
        )
    if config.distribute and len(on) < 2 and not is_cluster(on):
        wrong["distribute"] = "There is only one device here, nothing to spread a batch over."
    if config.weights not in ("imagenet", "none") and not Path(config.weights).is_file():
        wrong["weights"] = f"There is no file {config.weights} on this computer."
    return (None if wrong else config), wrong


def show_preview(table: pd.DataFrame, root: Path) -> None:
    size = st.session_state.new_size
    asked = {name: st.session_state[f"new_{name}"] for name in ("augmentation", *AMOUNTS)}
    recipe = recipe_of(asked["augmentation"], amounts(asked))
    positive = is_pneumonia(table.label)
    chosen, other = table[positive].path.iloc[0], table[~positive].path.iloc[0]
    try:
        square, normal = (
            prepared(str(root / path), size, st.session_state.new_equalization)
            for path in (chosen, other)
        )
    except radiograph.RadiographError as error:
        st.warning(f"{plain(chosen)}: {plain(error)}")
        return
    st.markdown(
        f"**Training images** with augmentation {describe_augmentation(asked)}: "
        f"{describe(recipe)}."
        + (
            " The network sees only the lungs' bounding box."
            if st.session_state.new_crop == "lungs"
            else ""
        )
    )
    rng = np.random.default_rng(0)
    with st.grid(VARIANTS, min_column_width=100):
        st.image(square, width="stretch", output_format="JPEG", alt="An image as it is")
        for variant in range(1, 1 if recipe == PRESETS["none"] else VARIANTS):
            st.image(
                augment(square, recipe, rng, style=style_of(normal)),
                width="stretch",
                output_format="JPEG",
                alt=f"The image changed at random, variant {variant}",
            )


@st.cache_data(max_entries=20, show_spinner=False)
def prepared(file: str, size: int, equalization: str) -> np.ndarray:
    return preprocess.prepare(radiograph.read_file(Path(file)).pixels, size, equalization)


def show_start(config: TrainingConfig, table: pd.DataFrame, on: list[Device]) -> None:
    pictures = int((table.split != "test").sum())
    gpus = sum(device.is_gpu for device in on)
    needs = estimate(config, pictures, gpus=gpus, cores=os.cpu_count() or 1)
    has = min(device.memory for device in on)
    short = lacking({runs.MODELS: needs.learned, preprocess.cache_folder(): needs.decoded})
    start, words = st.columns([1, 3], vertical_alignment="center")
    start.button(
        "Start training",
        type="primary",
        icon=":material/play_arrow:",
        width="stretch",
        disabled=bool(short),
        on_click=actions.start,
        args=(config, data_folder.place_in_use(), [device.id for device in on]),
    )
    if is_cluster(on):
        words.markdown(
            "The cluster gives the run a GPU where it has any, else the cores of a node."
        )
        return
    words.markdown(
        f"Roughly **{duration(needs.seconds)}** and {needs.memory / 1e9:.1f} GB of memory for "
        f"{number(pictures * (1 - config.validation_fraction))} images; it may end earlier, when "
        "validation no longer improves."
    )
    if has and needs.memory > 0.9 * has:
        st.warning(
            f"This is likely more than the {has / 1e9:.0f} GB that the device has. Choose a "
            "smaller size, network or batch."
        )
    for sentence in short:
        st.error(sentence)
    if config.mixed_precision and not gpus:
        st.caption("Mixed precision has no effect on the CPU.")


def lacking(wanted: dict[Path, float]) -> list[str]:
    """What is wrong with the disks of folders that are to take some bytes more."""
    problems = []
    for folder, needed in wanted.items():
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        if needed > free:
            problems.append(
                f"{needed / 1e9:.1f} GB will be written to {plain(str(folder))}, and only "
                f"{free / 1e9:.1f} GB are free there. Free some space, or choose a smaller size."
            )
    return problems


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 5):.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"

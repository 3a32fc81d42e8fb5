"""The fields of the form of a new run, made from `TrainingConfig`."""

import math
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo

from cxrlib import runs
from cxrlib.networks import depth
from cxrlib.runs.config import AMOUNTS, LEGACY_FIELDS, TrainingConfig, for_network
from cxrlib.training.augment import PRESETS

FIELDS = TrainingConfig.model_fields
LABELS = {
    "size": "Image size",
    "weights": "Initial weights",
    "head_epochs": "Epochs for the head",
    "fine_tune_epochs": "Epochs of fine-tuning",
    "fine_tune_depth": "Fine-tuned layers",
    "cnn_width": "CNN: first filters",
    "cnn_blocks": "CNN: convolutions",
    "monitor": "Best epoch by",
    "imbalance": "Class imbalance",
}
# What stands in fields that may stay empty.
DEFAULTS = {"fine_tune_depth": "all", "fine_tune_layers": "all", "split_seed": "the seed"}
CLASSES = {2: "normal, pneumonia", 3: "normal, bacterial, viral"}
UNITS = {
    "rotation": "±°",
    "shift": "± share",
    "zoom": "± share",
    "brightness": "± share",
    "contrast": "± share",
    "noise": "grey levels",
}
STEPS = {"rotation": 5.0, "shift": 0.05, "zoom": 0.05, "brightness": 0.05, "contrast": 0.1} | {
    "noise": 5.0
}


def starting_values(network: str | None) -> dict[str, Any]:
    """What the form's fields start from; ``name`` is text there."""
    defaults = {name: field.default for name, field in FIELDS.items()}
    return defaults | for_network(network or defaults["network"]) | {"name": ""}


def suit_network() -> None:
    """Set what depends on the network to what suits the one just chosen."""
    values = starting_values(st.session_state.new_network)
    for name in (
        "weights",
        "size",
        "head_epochs",
        "fine_tune_epochs",
        "learning_rate",
        "cnn_width",
        "cnn_blocks",
    ):
        st.session_state[f"new_{name}"] = values[name]


def suit_classes() -> None:
    """Three classes need another head than two, which the form sets at once."""
    if st.session_state.new_classes == 3:
        st.session_state.new_head = "softmax"
    elif st.session_state.new_head == "softmax":
        st.session_state.new_head = "sigmoid"


def suit_weights() -> None:
    """A backbone that starts from scratch cannot stay frozen."""
    if st.session_state.new_weights == "none":
        st.session_state.new_head_epochs = 0


SUITED: dict[str, Callable[[], None]] = {"network": suit_network, "classes": suit_classes}


def is_set_before(name: str) -> bool:
    """Whether a setting of earlier versions was taken over from a run."""
    return name in LEGACY_FIELDS and st.session_state[f"new_{name}"] is not None


def show_depth() -> None:
    """Which layers are fine-tuned."""
    if not st.session_state.new_fine_tune_layers:
        known = depth.names(
            st.session_state.new_network, cnn_blocks=st.session_state.new_cnn_blocks or 4
        )
        st.caption(f"Trains {depth.describe(known, st.session_state.new_fine_tune_depth)}.")


def title(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").capitalize())


def in_form(sentence: str) -> str:
    """What is wrong with a configuration, with the form's labels in place of the fields' names.

    >>> in_form("Three classes need head=softmax, or set head_epochs=0.")
    'Three classes need Head: softmax, or set Epochs for the head: 0.'
    """
    for name in sorted(FIELDS, key=len, reverse=True):
        sentence = re.sub(rf"\b{name}=(?=\w)", f"{title(name)}: ", sentence, flags=re.IGNORECASE)
        if "_" in name:
            sentence = re.sub(rf"\b{name}\b", title(name), sentence, flags=re.IGNORECASE)
    return sentence


def show_field(name: str, field: FieldInfo) -> Any:
    """A field's widget; returns the place below it where what is wrong is said."""
    description = field.description or ""
    options: dict[str, Any] = {
        "label": title(name),
        "help": description[0].upper() + description[1:] + ".",
        "key": f"new_{name}",
        "persist_state": "session",
    }
    kind = field.annotation
    if get_origin(kind) is Literal:
        if name == "classes":
            options["format_func"] = CLASSES.__getitem__
        st.selectbox(options=get_args(kind), on_change=SUITED.get(name), **options)
    elif kind is bool:
        st.toggle(**options)
    elif kind is int:
        st.number_input(step=1, **options)
    elif kind == int | None:
        st.number_input(step=1, value=None, placeholder=DEFAULTS[name], **options)
    elif name in AMOUNTS:
        preset = getattr(PRESETS[st.session_state.new_augmentation], name)
        options["label"] += f" ({UNITS[name]})"
        st.number_input(step=STEPS[name], format="%g", placeholder=f"{preset:g}", **options)
    elif kind is float:
        # A rate of 0.0001 is stepped through otherwise than a share of 0.2.
        step = 10.0 ** (math.floor(math.log10(field.default or 0.1)) - 1)
        st.number_input(step=step, format="%g", **options)
    elif name == "weights":
        of_runs = networks_at_hand(st.session_state.new_network)
        st.selectbox(
            options=("imagenet", "none", *of_runs),
            format_func=lambda weights: of_runs.get(weights, weights),
            accept_new_options=True,
            on_change=suit_weights,
            **options,
        )
    else:
        st.text_input(placeholder="network, size and time", **options)
    return st.empty()


def networks_at_hand(architecture: str) -> dict[str, str]:
    """What finished runs of an architecture have learned: files, and the words for them."""
    found = {}
    for run in runs.finished():
        try:
            if run.config.get("network") == architecture:
                found[str(run.model_file)] = f"the run {run.name}"
        except runs.RunError:
            continue  # the tab of finished runs says what is wrong with it
    return found

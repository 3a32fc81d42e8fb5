"""Which images a run was trained on, and the words for it. Imports nothing that takes long."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

TrainedOn = Literal["kaggle", "kaggle_part", "synthetic", "other"]

TRAINED_ON = "trained_on"  # the key in a run's ``metrics.json``
TITLES: dict[TrainedOn, str] = {
    "kaggle": "the Kaggle set",
    "kaggle_part": "part of the Kaggle set",
    "synthetic": "synthetic radiographs",
    "other": "another data set",
}
SYNTHETIC_RUN = (
    "This run was trained on synthetic radiographs, drawn by a program: its output for a "
    "patient's radiograph means nothing. Choose a run that was trained on real radiographs."
)


def trained_on(run_metrics: Mapping[str, Any]) -> TrainedOn:
    """What the run of a ``metrics.json`` was trained on.

    Runs of earlier versions recorded only whether it was the whole Kaggle set, as ``of_kaggle``.
    """
    recorded = run_metrics.get(TRAINED_ON, "")
    if recorded in get_args(TrainedOn):
        return recorded
    return "kaggle" if run_metrics.get("of_kaggle") is True else "other"


def of_ensemble(members: Mapping[str, Mapping[str, Any]]) -> TrainedOn:
    """What the mean of runs was trained on, from each member's ``metrics.json``.

    Raises:
        ValueError: some were trained on synthetic radiographs and others on real ones.
    """
    kinds = {name: trained_on(found) for name, found in members.items()}
    synthetic = [name for name, kind in kinds.items() if kind == "synthetic"]
    if synthetic and len(synthetic) < len(kinds):
        raise ValueError(
            f"{' and '.join(synthetic)} learned from synthetic radiographs, the others from real "
            "ones: their mean would mean nothing."
        )
    first, *others = set(kinds.values())
    return "other" if others else first

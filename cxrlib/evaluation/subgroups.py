"""How a run does on parts of the images: by subtype, and by what is known of the files."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from cxrlib import formatting, metrics
from cxrlib.labels import NORMAL, is_pneumonia


@dataclass(frozen=True)
class Subgroup:
    """A part of the images, and what the run reached on it; ``nan`` where undefined."""

    pictures: int
    pneumonia: int
    roc_auc: metrics.Estimate
    sensitivity: metrics.Estimate
    specificity: metrics.Estimate


def subgroup(predictions: pd.DataFrame, threshold: float) -> Subgroup:
    """Measure rows of a run's predictions at a threshold."""
    truth = is_pneumonia(predictions.label)
    found = metrics.summarize(
        truth, predictions.probability, threshold=threshold, groups=predictions.patient
    )
    return Subgroup(
        len(truth),
        int(truth.sum()),
        found["roc_auc"],
        found["sensitivity"],
        found["specificity"],
    )


def by_subtype(predictions: pd.DataFrame, threshold: float) -> dict[str, Subgroup]:
    """All images, and each subtype of pneumonia beside the same normal images."""
    normal = predictions.label == NORMAL
    found = {"all": subgroup(predictions, threshold)}
    for subtype in ("bacterial", "viral"):
        chosen = predictions.subtype == subtype
        if chosen.any():
            found[f"{subtype} against normal"] = subgroup(predictions[chosen | normal], threshold)
    return found


def by_thirds(
    predictions: pd.DataFrame, values: pd.Series, name: str, threshold: float
) -> dict[str, Subgroup]:
    """The images in three parts by a number, such as their height.

    Args:
        predictions: rows of a run's predictions.
        values: the number, aligned with them.
        name: what it is called.
        threshold: as for `subgroup`.

    Returns:
        Subgroups from low to high; empty where the number is the same for all.
    """
    edges = np.unique(np.quantile(values, (1 / 3, 2 / 3)))
    edges = edges[edges > values.min()]
    part = np.searchsorted(edges, values, side="right")
    if not edges.size:
        return {}
    labels = [
        f"{name} below {edges[0]:.0f}",
        *(f"{name} {low:.0f} to {high:.0f}" for low, high in pairwise(edges)),
        f"{name} {edges[-1]:.0f} and more",
    ]
    return {
        label: subgroup(predictions[part == number], threshold)
        for number, label in enumerate(labels)
    }


def as_numbers(groups: Mapping[str, Subgroup]) -> pd.DataFrame:
    """Subgroups for programs: one row each, estimates as by `metrics.to_columns`."""
    return pd.DataFrame(
        {"group": label, "images": group.pictures, "with_pneumonia": group.pneumonia}
        | metrics.to_columns("roc_auc", group.roc_auc)
        | metrics.to_columns("sensitivity", group.sensitivity)
        | metrics.to_columns("specificity", group.specificity)
        for label, group in groups.items()
    )


def as_table(groups: Mapping[str, Subgroup]) -> pd.DataFrame:
    """Subgroups as text for people: one row each, estimates with their intervals."""
    return pd.DataFrame(
        {
            "group": label,
            "images": group.pictures,
            "with pneumonia": group.pneumonia,
            "ROC-AUC": formatting.decimal(group.roc_auc),
            "sensitivity": formatting.rate(group.sensitivity),
            "specificity": formatting.rate(group.specificity),
        }
        for label, group in groups.items()
    )

"""Runs beside each other: what they reached, how they were trained, and whether it differs.

Works on run folders alone; neither the images nor a network are needed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cxrlib import __version__, formatting, metrics, runs
from cxrlib.evaluation import judge, model_card
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.labels import BINARY, is_pneumonia
from cxrlib.runs import ensembles, provenance, records
from cxrlib.runs.config import (
    AMOUNTS,
    LEGACY_FIELDS,
    describe_augmentation,
    seed_of_split,
)
from cxrlib.runs.folder import Run

SETTINGS = ("network", "size", "augmentation", "imbalance", "fine tune epochs")
NOT_SET = "not set"
_HEADLINE = ("roc_auc", "sensitivity", "specificity")
# With those, what a run's row in the table has.
TABLE_METRICS = ("accuracy", *_HEADLINE[1:], "precision", "f1", _HEADLINE[0], "log_loss")
ENSEMBLE_METRICS = (*_HEADLINE, "brier", "ece")


class ComparisonError(ValueError):
    """Runs cannot be compared; says why."""


@dataclass(frozen=True)
class Paired:
    """Two runs on the images that both held out: AUC by DeLong, calls by McNemar.

    Attributes:
        pictures: how many images both have.
        auc: the difference in ROC-AUC.
        calls: the calls on all images.
        sensitivity: those on pneumonias alone.
        specificity: those on normal images alone: opposite changes in the two classes, which cancel
            in ``calls``, are seen here.
    """

    pictures: int
    auc: metrics.AucComparison
    calls: metrics.McNemar
    sensitivity: metrics.McNemar
    specificity: metrics.McNemar


def run_table(readings: Sequence[Measured], point: str) -> pd.DataFrame:
    """One row a run, at its own operating point ``point``.

    Returns:
        Columns ``run``, ``trained on``; `TABLE_METRICS` as numbers, of ROC-AUC, sensitivity and
        specificity also the 95 % interval as text, ``… interval``; `SETTINGS` and ``split`` (share
        and seed of the validation images) as text; ``pictures``, ``threshold``, and ``date``, when
        it was started, as text.

    Raises:
        RunError: a run's configuration is missing or damaged.
    """
    rows = []
    for reading in readings:
        asked, found = settings(reading.run), reading.estimates(point)
        kind = provenance.trained_on(reading.metrics)
        row: dict[str, Any] = {"run": reading.run.name, "trained on": provenance.TITLES[kind]}
        for name in TABLE_METRICS:
            row[name] = found[name].value
            if name in _HEADLINE:
                row[f"{name} interval"] = formatting.interval(name, found[name])
        row |= {name: asked.get(name, NOT_SET) for name in SETTINGS}
        row |= {
            "split": f"{asked.get('validation fraction', NOT_SET)}, seed "
            f"{seed_of_split(reading.run.config) if 'seed' in asked else NOT_SET}",
            "pictures": reading.counts["pictures"],
            "threshold": reading.points[point].threshold,
            "date": str(reading.run.environment.get("started", ""))[:10] or NOT_SET,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def settings(run: Run) -> pd.Series:
    """What a run was asked to do, in words: setting → value, both as text.

    Raises:
        RunError: the run's configuration is missing or damaged.
    """
    if "members" in run.config:
        mean_of = {"network": "ensemble", "members": ", ".join(run.config["members"])}
        return pd.Series(mean_of, name=run.name).rename_axis("setting")
    config = run.config
    left_out = {"name", *AMOUNTS, *(name for name in LEGACY_FIELDS if config.get(name) is None)}
    asked = {
        name.replace("_", " "): _in_words(name, value)
        for name, value in config.items()
        if name not in left_out
    } | {"augmentation": describe_augmentation(config)}
    return pd.Series(asked, dtype=str, name=run.name).rename_axis("setting")


def configuration_differences(found: Sequence[Run]) -> pd.DataFrame:
    """The settings in which runs differ: one row a setting, one column a run, as text.

    Raises:
        RunError: a run's files are missing or damaged.
    """
    table = pd.concat([settings(run) for run in found], axis=1).fillna(NOT_SET)
    return table[table.nunique(axis=1) > 1]


def _in_words(name: str, value: Any) -> str:
    if value is None:
        return "all" if name in ("fine_tune_depth", "fine_tune_layers") else "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "validation_fraction":
        return formatting.setting(value)
    return str(value).replace("_", " ") if name == "imbalance" else str(value)


def paired(first: Measured, second: Measured, point: str) -> Paired:
    """Compare two runs on the same images; those that only one of them has are left out.

    Args:
        first: one run's reading of a split.
        second: the other's.
        point: name of the operating point at which each run makes its calls.

    Raises:
        ComparisonError: they share no images, or one read synthetic and the other real ones.
    """
    if _synthetic(first) != _synthetic(second):
        raise ComparisonError(
            f"One of {first.run.name} and {second.run.name} was measured on synthetic radiographs, "
            "the other on real ones: they cannot be compared."
        )
    shared = first.predictions.merge(
        second.predictions[["path", "probability"]], on="path", suffixes=("", "_b")
    )
    if shared.empty:
        raise ComparisonError(
            f"{first.run.name} and {second.run.name} have no image in common that neither was "
            "trained on. Train them with the same seed and validation share to compare them."
        )
    truth = is_pneumonia(shared.label)
    calls_a = (shared.probability >= first.points[point].threshold).to_numpy()
    calls_b = (shared.probability_b >= second.points[point].threshold).to_numpy()
    return Paired(
        len(shared),
        metrics.delong_test(truth, shared.probability, shared.probability_b, groups=shared.patient),
        calls=metrics.mcnemar_test(truth, calls_a, calls_b),
        sensitivity=metrics.mcnemar_test(truth[truth], calls_a[truth], calls_b[truth]),
        specificity=metrics.mcnemar_test(truth[~truth], calls_a[~truth], calls_b[~truth]),
    )


def _synthetic(reading: Measured) -> bool:
    return provenance.trained_on(reading.metrics) == "synthetic"


def by_images(readings: Sequence[Measured]) -> list[list[Measured]]:
    """Runs that were measured on the very same images, together; the first one's group first.

    Only within a group can figures be ranked: on other images others are to be expected.
    """
    groups: dict[tuple[bool, frozenset[str]], list[Measured]] = {}
    for reading in readings:
        key = _synthetic(reading), frozenset(reading.predictions.path)
        groups.setdefault(key, []).append(reading)
    return list(groups.values())


def ensemble(members: Mapping[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The mean of several runs' calibrated probabilities, judged as a run of its own.

    Temperature and operating points are chosen again, on the validation images that all runs
    were held out from; images that any run lacks are left out.

    Args:
        members: each run's `Run.predictions` by its name.

    Returns:
        What `judge.evaluate` returns: predictions and metrics.

    Raises:
        ComparisonError: the runs share too few validation images.
    """
    first, *others = members.values()
    shared = first[["split", "path", "label", "subtype", "patient", "probability"]]
    for number, table in enumerate(others):
        other = table[["split", "path", "probability"]]
        shared = shared.merge(other, on=["split", "path"], suffixes=("", f"_{number}"))
    validation = shared[shared.split == "validation"]
    if validation.patient.nunique() < 2 or validation.label.nunique() < 2:
        raise ComparisonError(
            "Too few images were held out from all of these runs to put them together. Train "
            "them with the same seed and validation share."
        )
    mean = shared.filter(regex="^probability").mean(axis=1).to_numpy()
    return judge.evaluate(shared, np.column_stack([1 - mean, mean]), BINARY)


def ensemble_table(readings: Sequence[Measured], point: str) -> pd.DataFrame:
    """The ensemble of several runs beside its members, all on the images that they share.

    Returns:
        Columns ``run``, ``pictures``, ``threshold`` and, for each of `ENSEMBLE_METRICS`, those of
        `metrics.to_columns`; the ensemble first.

    Raises:
        ComparisonError: as `ensemble`, or they share no images of the split.
    """
    predictions, found = ensemble({item.run.name: item.run.predictions for item in readings})
    split = readings[0].split
    if split not in found["splits"]:
        raise ComparisonError(f"These runs have no {split} images in common.")
    together = predictions[predictions.split == split]
    threshold = found["operating_points"][point]["threshold"]
    rows = [("mean of these runs", threshold, records.estimates(found, split, point))]
    for item in readings:
        own = item.predictions[item.predictions.path.isin(together.path)]
        threshold = item.points[point].threshold
        estimates = metrics.summarize(
            is_pneumonia(own.label), own.probability, threshold=threshold, groups=own.patient
        )
        rows.append((item.run.name, threshold, estimates))
    found_rows = []
    for name, threshold, estimates in rows:
        row: dict[str, Any] = {"run": name, "pictures": len(together), "threshold": threshold}
        for metric in ENSEMBLE_METRICS:
            row |= metrics.to_columns(metric, estimates[metric])
        found_rows.append(row)
    return pd.DataFrame(found_rows)


def save_ensemble(name: str, members: Sequence[Run], *, note: str = "") -> Run:
    """Keep the mean of several runs as a run of its own, beside them.

    Args:
        name: what it shall be called.
        members: two or more finished runs of one folder.
        note: for the model card, on how it was chosen.

    Raises:
        ComparisonError: they share too few validation images, one is an ensemble itself, or
            some were trained on synthetic radiographs and others on real ones.
        RunError: the name is taken or cannot name a folder, or a member's files are damaged.
    """
    for member in members:
        if parts := ensembles.member_names(member):
            raise ComparisonError(
                f"{member.name} is a mean of runs already. Choose {' and '.join(parts)} instead."
            )
    runs.check_name(name)
    try:
        trained_on = provenance.of_ensemble({run.name: run.metrics for run in members})
    except ValueError as error:
        raise ComparisonError(str(error)) from error
    predictions, found = ensemble({run.name: run.predictions for run in members})
    found[provenance.TRAINED_ON] = trained_on
    config = {"name": name, "members": [run.name for run in members]}
    run = runs.create(name, models=members[0].folder.parent)
    run.save_config(json.dumps(config, indent=1))
    run.save_environment({"cxrlib": __version__})
    run.finish(predictions, found, _ensemble_card(config["members"], found, note))
    return run


def _ensemble_card(members: Sequence[str], run_metrics: Mapping[str, Any], note: str) -> str:
    """An ensemble's model card, Markdown."""
    lines = [
        "# Model card",
        "",
        "**For education and research, not for diagnosis.** Reads frontal chest radiographs for "
        "pneumonia and gives a calibrated probability.",
        "",
        "## How it was made",
        f"The mean of the calibrated probabilities of {len(members)} runs, recalibrated: "
        f"{', '.join(members)}. Their own cards say how each was trained, and on what.",
        *(["", note] if note else []),
        "",
        *model_card.results_and_limits(run_metrics),
    ]
    return "\n".join(lines) + "\n"

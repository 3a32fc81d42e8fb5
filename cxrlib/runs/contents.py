"""What the files of a run hold, and whether one does. Imports nothing that takes long.

Run folders are copied, edited by hand and written by other versions. `folder.Run` checks each file
here where it reads it, so that nothing else has to ask. The checks raise ``ValueError`` with the
reason.
"""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from cxrlib.labels import BINARY, NORMAL
from cxrlib.runs.operating_points import POINT_TITLES

if TYPE_CHECKING:
    import pandas as pd

METRIC_TITLES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC (average precision)",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity (recall)",
    "specificity": "Specificity",
    "precision": "Precision (PPV)",
    "npv": "Negative predictive value",
    "f1": "F1",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
    "log_loss": "Loss (cross-entropy)",
}
_LATER = ("log_loss",)  # what runs of before version 0.2 do not have
COUNTS = ("tp", "fp", "fn", "tn")
_SPLITS = ("validation", "test")
_SIDES = range(32, 1025)  # pixels
PREDICTION_TEXTS = ("split", "path", "label", "subtype", "patient")
# Of a table of a stress test, each with its interval.
STRESS_ESTIMATES = (
    "roc_auc",
    "sensitivity",
    "specificity",
    "ece",
    "refused",
    "changed",
    "reversed",
)
_BY_KIND = ("normal", "bacterial", "viral")
_ESTIMATE = dict.fromkeys(("value", "low", "high"), float | None)
_SPLIT = {
    "pictures": int,
    "patients": int,
    "pneumonia": int,
    "ece_uncalibrated": float,
    "points": {
        point: dict.fromkeys((name for name in METRIC_TITLES if name not in _LATER), _ESTIMATE)
        for point in POINT_TITLES
    },
}
_METRICS = {
    "classes": [str],
    "default_point": str,
    "calibration": {"temperature": float, "offsets": [float]},
    "operating_points": {
        point: {"threshold": float, "low": float, "high": float} for point in POINT_TITLES
    },
    "splits": dict,
}
_CONFIG = {"network": str, "size": int, "crop": str, "equalization": str, "augmentation": str}
_BY_CLASS = {"counts": [[int]], "unknown": int, "bacterial": _ESTIMATE}


def check_config(config: Mapping[str, Any]) -> None:
    """Check a ``config.json``, under today's names: of a training, an ensemble, a lung finder."""
    if "members" in config:
        _check(config, {"members": [str]})
        return
    if "epochs" in config:  # a lung finder
        _check(config, {"epochs": int, "seed": int})
        return
    _check(config, _CONFIG)
    if config["size"] not in _SIDES:
        raise ValueError(f"size is {config['size']}")


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """Check a ``metrics.json``."""
    _check(metrics, _METRICS)
    if metrics["classes"][:1] != [NORMAL] or len(metrics["classes"]) not in (2, 3):
        raise ValueError(f"classes are {metrics['classes']}")
    calibration = metrics["calibration"]
    if len(calibration["offsets"]) != len(metrics["classes"]) or calibration["temperature"] <= 0:
        raise ValueError("calibration does not fit the classes")
    if metrics["default_point"] not in POINT_TITLES:
        raise ValueError(f"default_point is {metrics['default_point']}")
    if not metrics["splits"] or not set(metrics["splits"]).issubset(_SPLITS):
        raise ValueError(f"splits are {list(metrics['splits'])}")
    for name, split in metrics["splits"].items():
        _check_split(split, f"splits.{name}")


def check_kept(kept: Mapping[str, Any]) -> None:
    """Check a ``kept.json``: what a run came to on other sets of images, by name."""
    for name, measured in kept.items():
        _check_split(measured, name)
        _check(measured, {"data": str, "measured": str}, name)


def _check_split(split: Any, where: str) -> None:
    """Check what a run came to on one set of images."""
    _check(split, _SPLIT, where)
    for point, found in split["points"].items():
        for name in set(_LATER) & set(found):
            _check(found[name], _ESTIMATE, f"{where}.points.{point}.{name}")
    if "by_class" in split:
        _check(split["by_class"], _BY_CLASS, f"{where}.by_class")
    if "counts" in split:
        form = {point: dict.fromkeys(COUNTS, int) for point in POINT_TITLES}
        _check(split["counts"], form, f"{where}.counts")


def check_predictions(table: "pd.DataFrame") -> None:
    """Check a ``predictions.csv``."""
    check_scores(table)
    if odd := set(table.split) - set(_SPLITS):
        raise ValueError(f"it has a split {sorted(odd)[0]}")


def check_scores(table: "pd.DataFrame") -> None:
    """Check predictions of any images."""
    by_kind = [name for name in _BY_KIND if name in table]
    _check_columns(table, PREDICTION_TEXTS, ("score", "probability", *by_kind))
    for name in ("score", "probability"):
        if not table[name].between(0, 1).all():
            raise ValueError(f"{name} is not always between 0 and 1")
    for split, labels in table.groupby("split").label:
        if not set(labels).issubset(BINARY):
            raise ValueError(
                f"the labels of the split {split} are {', '.join(sorted(set(labels)))}"
            )


def check_history(table: "pd.DataFrame") -> None:
    """Check a ``history.csv``."""
    validation = ("val_loss", "val_auc", "val_sensitivity", "val_specificity")
    _check_columns(table, ("phase",), ("epoch", "loss", *validation))


def check_stress(table: "pd.DataFrame") -> None:
    """Check a ``stress.csv``."""
    numbers = [f"{name}{end}" for name in STRESS_ESTIMATES for end in ("", "_low", "_high")]
    _check_columns(
        table, ("pictures_of", "step", "group", "strength"), ("pictures", "pneumonia", *numbers)
    )
    if not table.changed[table.strength == "mild"].notna().any():
        raise ValueError("it has no mild step")


def check_data_summary(summary: Mapping[str, Any]) -> None:
    """Check a ``data.json``."""
    sides = {"folders": list, "split": list}
    shared = {name: {"patients": int, "copies": int} for name in sides}
    _check(
        summary,
        {
            "images": int,
            "imbalance": str,
            "completeness": str,
            "counts": sides,
            "copies": {"files": int, "images": int},
            "shared": shared,
            "constant": dict,
            "separations": list,
            "histograms": dict,
        },
    )


def check_faithfulness(table: "pd.DataFrame") -> None:
    """Check a ``faithfulness.csv``."""
    _check_columns(table, ("method", "measure"), ("value", "low", "high"))
    if table.duplicated(["method", "measure"]).any():
        raise ValueError("it has a measure twice")


def _check_columns(table: "pd.DataFrame", texts: Collection[str], numbers: Collection[str]) -> None:
    missing = [name for name in (*texts, *numbers) if name not in table]
    if missing or table.empty:
        raise ValueError(f"it lacks {missing[0]}" if missing else "it is empty")
    for name in numbers:
        if table[name].dtype.kind not in "if":
            raise ValueError(f"{name} holds something else than numbers")


def _check(value: object, form: Any, where: str = "") -> None:
    """Check that a value from JSON has a form.

    Args:
        value: from `json.loads`.
        form: a dictionary of the keys that have to be there, a list of the one form that all
            items have, or a type. Whole numbers are not negative, others finite.
        where: the keys that lead to it.
    """
    kind = type(form) if isinstance(form, dict | list) else form
    if kind in (float, float | None) and type(value) is int:
        value = float(value)
    odd = isinstance(value, int | float) and not _is_plain(value)
    if odd or not isinstance(value, kind):
        raise ValueError(f"{where or 'it'} is {str(value)[:40]}")
    if isinstance(form, dict):
        for key, inner in form.items():
            if key not in value:
                raise ValueError(f"{where}.{key} is missing".lstrip("."))
            _check(value[key], inner, f"{where}.{key}".lstrip("."))
    elif isinstance(form, list):
        for item in value:
            _check(item, form[0], where)


def _is_plain(number: float) -> bool:
    if isinstance(number, float):
        return math.isfinite(number)
    return type(number) is int and number >= 0

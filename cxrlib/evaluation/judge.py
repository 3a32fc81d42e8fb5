"""From a network's outputs to a run's predictions and metrics. No Keras."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrlib import metrics
from cxrlib.evaluation import three_classes
from cxrlib.labels import NORMAL, PNEUMONIA, is_pneumonia
from cxrlib.runs.operating_points import DEFAULT_POINT


def class_numbers(table: pd.DataFrame, class_names: Sequence[str]) -> np.ndarray:
    """The class of each image as ``int [n]``, an index into ``class_names``.

    With three classes a pneumonia image's class is its subtype; -1 where its name says none.
    """
    named = table.label
    if PNEUMONIA not in class_names:
        named = table.label.where(table.label == NORMAL, table.subtype.str.upper())
    numbers = {name: number for number, name in enumerate(class_names)}
    return named.map(numbers).fillna(-1).to_numpy(np.int64)


def evaluate(
    table: pd.DataFrame, distribution: np.ndarray, class_names: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What a run's ``predictions.csv`` and ``metrics.json`` hold.

    Calibration and operating points are chosen on the rows whose ``split`` is ``validation``;
    every split is then measured with them.

    Args:
        table: rows of `dataset.index`, with ``split`` set to the run's own folds.
        distribution: ``[len(table), classes]``, the network's uncalibrated probabilities.
        class_names: the classes in order, NORMAL first.

    Returns:
        Predictions, with ``score`` (uncalibrated) and ``probability`` (calibrated) of pneumonia
        and, for three classes, the calibrated probability of each; and metrics.
    """
    validation = (table.split == "validation").to_numpy()
    calibration = metrics.fit_calibration(
        distribution[validation], class_numbers(table[validation], class_names)
    )
    predictions = predict_table(table, distribution, class_names, calibration)
    held_out = predictions[validation]
    points = metrics.operating_points(
        is_pneumonia(held_out.label), held_out.probability, groups=held_out.patient
    )
    return predictions, {
        "classes": list(class_names),
        "calibration": vars(calibration),
        "default_point": DEFAULT_POINT,
        "operating_points": {
            name: {"threshold": point.threshold, "low": point.low, "high": point.high}
            for name, point in points.items()
        },
        "splits": {split: measure(rows, points) for split, rows in predictions.groupby("split")},
    }


def predict_table(
    table: pd.DataFrame,
    distribution: np.ndarray,
    class_names: Sequence[str],
    calibration: metrics.Calibration,
) -> pd.DataFrame:
    """One row an image: split, path, label, subtype, patient, score, probability."""
    calibrated = calibration.apply(distribution)
    predictions = table[["split", "path", "label", "subtype", "patient"]].reset_index(drop=True)
    predictions["score"] = 1 - distribution[:, 0].astype(np.float64)
    predictions["probability"] = 1 - calibrated[:, 0]
    if len(class_names) > 2:
        for number, name in enumerate(class_names):
            predictions[name.lower()] = calibrated[:, number]
    return predictions


def measure(
    predictions: pd.DataFrame, points: Mapping[str, metrics.OperatingPoint]
) -> dict[str, Any]:
    """Every metric of a set of predictions, with intervals, and counts at each operating point.

    Of a run with three classes also which is taken for which, as ``by_class``.
    """
    truth = is_pneumonia(predictions.label)
    three = "bacterial" in predictions
    counts = {
        name: vars(metrics.confusion(truth, predictions.probability, point.threshold))
        for name, point in points.items()
    }
    return {
        "pictures": len(predictions),
        "patients": int(predictions.patient.nunique()),
        "pneumonia": int(truth.sum()),
        "counts": counts,
        "ece_uncalibrated": metrics.expected_calibration_error(truth, predictions.score),
        "points": {
            name: metrics.summary_to_json(
                metrics.summarize(
                    truth,
                    predictions.probability,
                    threshold=point.threshold,
                    groups=predictions.patient,
                )
            )
            for name, point in points.items()
        },
    } | ({"by_class": three_classes.by_class(predictions).to_json()} if three else {})

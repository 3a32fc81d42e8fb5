"""Charts that answer the mouse, as Vega-Lite specifications: what lies under it, in numbers.

They show the curves of `figures`, which stay for documents.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrlib.formatting import PERCENT_SIGN, RATES
from cxrlib.metrics import (
    Band,
    CalibrationPoint,
    Confusion,
    PrecisionRecallCurve,
    RocCurve,
)
from cxrlib.metrics.arrays import Floats
from cxrlib.plots.colours import CORNER, SERIES

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]
_Row = dict[str, Any]
_HEIGHT = 420
_LOW = 260  # of charts one below the other
_GREY = "#7d878c"
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2, 1, 2, 1, 2], [10, 4])
_LEGEND = 36  # characters of a row of a legend that a phone has room for
_BINS = 40
# As Vega and d3 write numbers.
PERCENT_TICKS, RATE, DECIMAL = "~%", ".1%", ".3f"
LOCALE: Spec = {
    "locale": {
        "number": {
            "decimal": ".",
            "thousands": ",",
            "grouping": [3],
            "currency": ["", ""],
            "percent": PERCENT_SIGN,
        }
    }
}


def roc_chart(
    curves: Mapping[str, RocCurve],
    bands: Mapping[str, Band],
    marks: Mapping[str, Confusion],
    *,
    corner: bool = False,
) -> Spec:
    """ROC curves by label, with threshold, sensitivity and specificity under the mouse.

    Args:
        curves: by label.
        bands: 95 % bands of the curves.
        marks: confusion matrix at each run's operating point.
        corner: show the upper left corner alone, in which good runs differ.
    """
    rows = [
        row
        for label, curve in curves.items()
        for row in _rows(
            label, curve.thresholds, x=curve.fpr, y=curve.tpr, specificity=1 - curve.fpr
        )
    ]
    points = [
        {"run": label, "x": 1 - mark.specificity, "y": mark.sensitivity}
        for label, mark in marks.items()
    ]
    tooltip = _tooltip(y="Sensitivity", specificity="Specificity", threshold="Threshold")
    chance = [{"x": 0, "y": 0}, {"x": 1, "y": 1}]
    return _curves(
        rows,
        _band_rows(bands),
        points,
        chance,
        tooltip,
        x=("False positive rate (1 − specificity)", [0, CORNER] if corner else [0, 1]),
        y=("Sensitivity", [1 - CORNER, 1] if corner else [0, 1]),
        interpolate="linear",
    )


def precision_recall_chart(
    curves: Mapping[str, PrecisionRecallCurve],
    bands: Mapping[str, Band],
    marks: Mapping[str, Confusion],
    *,
    prevalence: float,
    corner: bool = False,
) -> Spec:
    """Precision–recall curves by label; takes what `roc_chart` takes, and the prevalence, which is
    the precision of chance. The corner is the upper right one."""
    rows = [
        row
        for label, curve in curves.items()
        # The first point, at recall 0, is a convention.
        for row in _rows(label, curve.thresholds[1:], x=curve.recall[1:], y=curve.precision[1:])
    ]
    points = [
        {"run": label, "x": mark.sensitivity, "y": mark.precision} for label, mark in marks.items()
    ]
    return _curves(
        rows,
        _band_rows(bands),
        points,
        [{"x": 0, "y": prevalence}, {"x": 1, "y": prevalence}],
        _tooltip(x="Recall (sensitivity)", y="Precision", threshold="Threshold"),
        x=("Recall (sensitivity)", [1 - CORNER, 1] if corner else [0, 1]),
        y=("Precision", [1 - CORNER, 1] if corner else [0, 1]),
        interpolate="step-before",
    )


def calibration_chart(series: Mapping[str, Sequence[CalibrationPoint]]) -> Spec:
    """Observed share of pneumonia against predicted probability, with Wilson intervals."""
    rows = [
        {
            "run": label,
            "x": point.predicted,
            "y": point.observed.value,
            "low": point.observed.low,
            "high": point.observed.high,
            "images": point.count,
        }
        for label, points in series.items()
        for point in points
    ]
    encoding = _axes(("Predicted probability", [0, 1]), ("Share with pneumonia", [0, 1]))
    encoding |= _look(list(series))
    tooltip = _tooltip(x="Predicted", y="Observed", low="95 % from", high="95 % to")
    tooltip.append({"field": "images", "title": "Images"})
    return {
        "height": _HEIGHT,
        "config": LOCALE,
        "layer": [
            _guide([{"x": 0, "y": 0}, {"x": 1, "y": 1}], encoding),
            {
                "data": _data(rows),
                "encoding": encoding,
                "layer": [
                    {"mark": {"type": "line"}},
                    {
                        "mark": {"type": "rule"},
                        "encoding": {
                            "y": {"field": "low", "type": "quantitative"},
                            "y2": {"field": "high"},
                        },
                    },
                    {"mark": {"type": "point", "filled": True, "size": 50}},
                ],
            },
            _hover(rows, encoding, tooltip, "Probabilities"),
        ],
    }


def histogram_chart(
    groups: Mapping[str, np.ndarray],
    threshold: float,
    confusion: Callable[[float], Confusion],
) -> Spec:
    """Probabilities by group, on a square-root scale: few stay visible beside many.

    Args:
        groups: probabilities by name.
        threshold: in use, a line.
        confusion: the confusion matrix of all groups at a threshold, for the numbers under the
            mouse.
    """
    edges = np.linspace(0, 1, _BINS + 1)
    at_edge = [confusion(edge) for edge in edges[:-1]]
    titles = {label: f"{label}, {len(values)}" for label, values in groups.items()}
    rows = [
        {
            "run": titles[label],
            "x": low,
            "high": high,
            "y": int(count),
            "sensitivity": matrix.sensitivity,
            "specificity": matrix.specificity,
        }
        for label, probabilities in groups.items()
        for low, high, count, matrix in zip(
            edges[:-1], edges[1:], np.histogram(probabilities, edges)[0], at_edge, strict=True
        )
    ]
    tooltip = _tooltip(x="Probability from", high="to")
    tooltip.append({"field": "y", "title": "Images"})
    tooltip += _tooltip(sensitivity="Sensitivity from here", specificity="Specificity from here")
    axes = _axes(("Probability of pneumonia", [0, 1]), ("Images", []), in_percent="x")
    encoding = axes | _look(list(titles.values()))
    encoding["y"]["scale"] = {"type": "sqrt"}
    return {
        "height": _HEIGHT,
        "config": LOCALE,
        "layer": [
            {
                "data": _data(rows),
                "mark": {"type": "line", "interpolate": "step-after"},
                "encoding": encoding,
            },
            _hover(rows, encoding, tooltip, "Images of"),
            {
                "data": {"values": [{"x": threshold}]},
                "mark": {"type": "rule", "strokeWidth": 2, "color": _GREY},
                "encoding": {"x": encoding["x"]},
            },
        ],
    }


_LEARNED = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "accuracy": "accuracy",
    "precision": "precision",
    "F1": "f1",
}


def learning_panels(history: "pd.DataFrame") -> dict[str, dict[str, str]]:
    """What a training is drawn by: panels by title, each with columns of its history by title.

    Runs of before version 0.2 have fewer columns: what is missing is left out.
    """
    panels = {
        "Loss": {"training: minimized loss": "loss", "validation: cross-entropy": "val_loss"},
        "ROC-AUC": {"training": "auc", "validation": "val_auc"},
        f"Training, threshold 50{PERCENT_SIGN}": _LEARNED,
        f"Validation, threshold 50{PERCENT_SIGN}": {
            label: f"val_{column}" for label, column in _LEARNED.items()
        },
    }
    known = {
        title: {label: column for label, column in columns.items() if column in history}
        for title, columns in panels.items()
    }
    return {title: columns for title, columns in known.items() if columns}


def are_rates(columns: Mapping[str, str]) -> bool:
    """Whether all of a panel's columns are in percent."""
    return all(column.removeprefix("val_") in RATES for column in columns.values())


def phase_starts(history: "pd.DataFrame") -> list[int]:
    """The epochs, counted from 1, with which another phase of a training begins."""
    phase = history.phase.to_numpy()
    return [number for number in range(2, len(phase) + 1) if phase[number - 1] != phase[number - 2]]


def learning_charts(history: "pd.DataFrame") -> dict[str, Spec]:
    """Loss, and what training and validation reached, by epoch; a chart for each panel."""
    epochs = range(1, len(history) + 1)
    starts = phase_starts(history)
    charts = {}
    for title, columns in learning_panels(history).items():
        rows = [
            {"run": label, "x": epoch, "y": value}
            for label, column in columns.items()
            for epoch, value in zip(epochs, history[column].tolist(), strict=True)
        ]
        rates = are_rates(columns)
        axes = _axes(
            ("Epoch", [0.5, len(history) + 0.5]), ("", []), in_percent="y" if rates else ""
        )
        encoding = axes | _look(list(columns))
        encoding["x"]["axis"] = {"tickMinStep": 1, "format": "d"}
        del encoding["y"]["scale"]["domain"]
        value = {"field": "y", "type": "quantitative", "title": "Value"}
        tooltip = [
            {"field": "x", "title": "Epoch"},
            value | {"format": RATE if rates else DECIMAL},
        ]
        layers = [
            {
                "data": _data(rows),
                "mark": {"type": "line", "point": {"size": 25}},
                "encoding": encoding,
            },
            _hover(rows, encoding, tooltip, "Of"),
        ]
        if starts:
            layers.append(
                {
                    "data": _data([{"x": start - 0.5} for start in starts]),
                    "mark": {"type": "rule", "strokeDash": [2, 3], "color": _GREY},
                    "encoding": {"x": encoding["x"]},
                }
            )
        charts[title] = {"height": _LOW, "layer": layers, "config": LOCALE}
    return charts


def _rows(label: str, thresholds: Floats, **columns: Floats) -> list[_Row]:
    """One row a point of a curve; without threshold where nothing is called positive."""
    known = np.isfinite(thresholds)
    return [
        {"run": label, "order": number, "threshold": float(threshold) if finite else None}
        | {name: round(float(values[number]), 5) for name, values in columns.items()}
        for number, (threshold, finite) in enumerate(zip(thresholds, known, strict=True))
    ]


def _band_rows(bands: Mapping[str, Band]) -> list[_Row]:
    return [
        {"run": label, "x": x, "low": low, "high": high}
        for label, band in bands.items()
        for x, low, high in zip(band.x.tolist(), band.low.tolist(), band.high.tolist(), strict=True)
        if np.isfinite(low)
    ]


def _curves(
    rows: list[_Row],
    bands: list[_Row],
    marks: list[_Row],
    chance: list[_Row],
    tooltip: list[Spec],
    *,
    x: tuple[str, Sequence[float]],
    y: tuple[str, Sequence[float]],
    interpolate: str,
) -> Spec:
    axes = _axes(x, y)
    look = _look([mark["run"] for mark in marks])
    return {
        "height": _HEIGHT,
        "config": LOCALE,
        "layer": [
            _guide(chance, axes),
            {
                "data": _data(bands),
                "mark": {"type": "area", "opacity": 0.18, "clip": True},
                "encoding": {
                    "x": axes["x"],
                    "y": axes["y"] | {"field": "low"},
                    "y2": {"field": "high"},
                    "color": look["color"],
                },
            },
            {
                "data": _data(rows),
                "mark": {"type": "line", "interpolate": interpolate, "clip": True},
                "encoding": {**axes, **look, "order": {"field": "order"}},
            },
            {
                "data": _data(marks),
                "mark": {"type": "point", "filled": True, "size": 130, "clip": True},
                "encoding": {**axes, "color": look["color"]},
            },
            _hover(rows, {**axes, "color": look["color"]}, tooltip, "Run"),
        ],
    }


def _axes(
    x: tuple[str, Sequence[float]], y: tuple[str, Sequence[float]], *, in_percent: str = "xy"
) -> Spec:
    return {
        name: {
            "field": name,
            "type": "quantitative",
            "title": title,
            "scale": {"domain": list(domain), "zero": False, "nice": False},
            "axis": {"format": PERCENT_TICKS} if name in in_percent else {},
        }
        for name, (title, domain) in (("x", x), ("y", y))
    }


def _look(labels: Sequence[str]) -> Spec:
    """Colour and dashes by label, so that no colour has to tell them apart alone."""

    columns = max(1, _LEGEND // (max(map(len, labels)) + 4))

    def scaled(looks: Sequence[Any]) -> Spec:
        chosen = [looks[number % len(looks)] for number in range(len(labels))]
        return {
            "field": "run",
            "type": "nominal",
            "scale": {"domain": list(labels), "range": chosen},
            "legend": {
                "orient": "bottom",
                "title": None,
                "columns": columns,
                "labelLimit": 400,
                "symbolType": "stroke",
                "symbolOpacity": 1,
            },
        }

    return {"color": scaled(SERIES), "strokeDash": scaled(_DASHES)}


def _data(rows: list[_Row]) -> Spec:
    """Rows for JSON, which knows no ``nan``: rates of a class that is missing."""
    return {
        "values": [
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in row.items()
            }
            for row in rows
        ]
    }


def _guide(points: list[_Row], axes: Spec) -> Spec:
    """A dotted grey line."""
    return {
        "data": _data(points),
        "mark": {"type": "line", "strokeDash": [2, 3], "color": _GREY, "clip": True},
        "encoding": {"x": axes["x"], "y": axes["y"]},
    }


def _hover(rows: list[_Row], encoding: Spec, tooltip: list[Spec], label: str) -> Spec:
    """The point nearest to the mouse, and its numbers."""
    near = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
    shown = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    return {
        # A curve begins where nothing is called positive: no threshold does that.
        "data": _data([row for row in rows if row.get("threshold", 0) is not None]),
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "filled": True, "size": 70, "clip": True},
        "encoding": {
            "x": encoding["x"],
            "y": encoding["y"],
            "color": encoding["color"],
            "opacity": shown,
            "tooltip": [{"field": "run", "title": label}, *tooltip],
        },
    }


def _tooltip(**titles: str) -> list[Spec]:
    return [
        {"field": field, "type": "quantitative", "title": title, "format": RATE}
        for field, title in titles.items()
    ]

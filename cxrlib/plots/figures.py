"""Figures of a run's numbers."""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path as Outline
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cxrlib.formatting import PERCENT_SIGN, rate
from cxrlib.metrics import (
    Band,
    CalibrationPoint,
    Confusion,
    Estimate,
    PrecisionRecallCurve,
    RocCurve,
)
from cxrlib.plots.charts import are_rates, learning_panels, phase_starts
from cxrlib.plots.colours import CORNER, INK, SERIES

if TYPE_CHECKING:
    import pandas as pd

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
_MARKERS = "osD^vP"
_INK, _GREY = INK["light"], "#7d878c"
_DOT: dict[str, Any] = {"ms": 9, "mec": _INK, "mew": 1.2, "zorder": 3}
T = TypeVar("T")


def svg(figure: Figure, theme: str = "light") -> str:
    """A figure as SVG without background, its ink readable on the theme, ``light`` or ``dark``."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue().replace(_INK, INK[theme])


def png(figure: Figure) -> bytes:
    """A figure as PNG on white, fit for a document."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200, facecolor="white")
    return file.getvalue()


def roc_figure(
    curves: Mapping[str, RocCurve], bands: Mapping[str, Band], marks: Mapping[str, Confusion]
) -> Figure:
    """ROC curves by label, with their 95 % bands and a mark at each operating point."""
    figure, axes = _rates("False positive rate (1 − specificity)", "Sensitivity")
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")

    def draw(axes: Axes) -> dict[str, Line2D]:
        handles = {}
        for label, curve, style, marker in _series(curves):
            _band(axes, bands[label], style)
            (handles[label],) = axes.plot(curve.fpr, curve.tpr, **style)
            point = marks[label]
            axes.plot(1 - point.specificity, point.sensitivity, marker, **_DOT, mfc=style["color"])
        return handles

    _legend(figure, draw(axes))
    if all(min(point.specificity, point.sensitivity) > 1 - CORNER for point in marks.values()):
        # Good runs differ in a corner only; below the diagonal there is room to see it large.
        draw(_magnified(axes, (0.54, 0.09, 0.42, 0.42), x=(0, CORNER)))
    return figure


def precision_recall_figure(
    curves: Mapping[str, PrecisionRecallCurve],
    bands: Mapping[str, Band],
    marks: Mapping[str, Confusion],
    *,
    prevalence: float,
) -> Figure:
    """Precision–recall curves by label, with 95 % bands; dotted what chance would give."""
    figure, axes = _rates("Recall (sensitivity)", "Precision")
    axes.axhline(prevalence, color=_GREY, lw=1, ls=":")

    def draw(axes: Axes) -> dict[str, Line2D]:
        handles = {}
        for label, curve, style, marker in _series(curves):
            _band(axes, bands[label], style)
            # The point at recall 0 is a convention, and a step from it would be drawn as data.
            recall, precision = curve.recall[1:], curve.precision[1:]
            (handles[label],) = axes.step(recall, precision, where="pre", **style)
            point = marks[label]
            axes.plot(point.sensitivity, point.precision, marker, **_DOT, mfc=style["color"])
        return handles

    _legend(figure, draw(axes))
    in_corner = all(min(mark.sensitivity, mark.precision) > 1 - CORNER for mark in marks.values())
    # Not over the line of chance.
    if in_corner and prevalence > 0.6:
        draw(_magnified(axes, (0.1, 0.09, 0.42, 0.42), x=(1 - CORNER, 1)))
    return figure


def calibration_figure(series: Mapping[str, Sequence[CalibrationPoint]]) -> Figure:
    """Observed share of pneumonia against predicted probability, with Wilson intervals."""
    figure, axes = _rates("Predicted probability", "Share with pneumonia")
    handles = {}
    axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=":")
    for label, points, style, marker in _series(series):
        observed = [point.observed for point in points]
        handles[label] = axes.errorbar(
            [point.predicted for point in points],
            [share.value for share in observed],
            yerr=np.transpose(
                [(share.value - share.low, share.high - share.value) for share in observed]
            ),
            marker=marker,
            ms=5,
            elinewidth=1,
            capsize=2,
            **style,
        )
    _legend(figure, handles)
    return figure


def confusion_figure(matrix: Confusion) -> Figure:
    """The confusion matrix: counts, and the share of each row."""
    counts = np.array([[matrix.tn, matrix.fp], [matrix.fn, matrix.tp]])
    words = [["true negatives", "false positives"], ["false negatives", "true positives"]]
    return _cells((3.9, 3.1), counts, ("normal", "pneumonia"), words)


def classes_figure(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """The confusion matrix of several classes, ``int [true, called]``."""
    return _cells((5.2, 4.2), counts, names)


def _cells(
    size: tuple[float, float],
    counts: np.ndarray,
    names: Sequence[str],
    words: Sequence[Sequence[str]] | None = None,
) -> Figure:
    figure, (axes,) = _figure(size, "Called", "Truth")
    for (row, column), count in np.ndenumerate(counts):
        share = count / max(counts[row].sum(), 1)
        axes.fill_between(
            [column - 0.48, column + 0.48], row - 0.48, row + 0.48,
            color=SERIES[0] if row == column else SERIES[1], alpha=0.08 + 0.4 * share, lw=0,
        )  # fmt: skip
        lines = [(f"{count}", 20), (rate(share), 10)]
        places = [0.0, 0.3]
        if words:
            lines.insert(1, (words[row][column], 10))
            places = [-0.09, 0.17, 0.36]
        for dy, (text, points) in zip(places, lines, strict=True):
            axes.text(column, row + dy, text, ha="center", size=points, color=_INK)
    last = len(names) - 0.5
    axes.set(xlim=(-0.5, last), ylim=(last, -0.5), aspect=0.7)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    return figure


def histogram_figure(groups: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """Probabilities by group, one below the other; the line is the threshold.

    On a square-root scale few stay visible beside many.
    """
    figure, rows = _figure(
        (5.6, 1.2 + 1.15 * len(groups)), "Probability of pneumonia", "Images", rows=len(groups)
    )
    edges = np.linspace(0, 1, 41).tolist()
    for axes, (label, probabilities) in zip(rows, groups.items(), strict=True):
        axes.hist(probabilities, edges, color=SERIES[0], alpha=0.85, histtype="stepfilled")
        axes.set_yscale("function", functions=(np.sqrt, np.square))
        axes.axvline(threshold, color=_INK, lw=1.2)
        axes.set_title(f"{_plain(label)}, {len(probabilities)}", loc="left", size=10, color=_INK)
        axes.locator_params(axis="y", integer=True, nbins=3)
        axes.set_xlim(0, 1)
    _in_percent(rows[-1].xaxis)
    return figure


def learning_figure(history: "pd.DataFrame") -> Figure:
    """Loss, and what training and validation reached, by epoch; a line where fine-tuning begins.

    Runs of before version 0.2 have fewer columns: what is missing is left out.
    """
    panels = learning_panels(history)
    height = 2.7 * len(panels)
    figure, rows = _figure((5.6, height), "Epoch", "", rows=len(panels))
    epochs = np.arange(1, len(history) + 1)
    for axes, (title, columns) in zip(rows, panels.items(), strict=True):
        for label, column, style, marker in _series(columns):
            axes.plot(epochs, history[column], label=label, marker=marker, ms=4, **style)
        axes.set_title(title, loc="left", size=10, color=_INK)
        if are_rates(columns):
            _in_percent(axes.yaxis)
        for start in phase_starts(history):
            axes.axvline(start - 0.5, color=_GREY, lw=1, ls=":")
        axes.legend(fontsize=8, labelcolor=_INK, frameon=False)
    rows[-1].locator_params(axis="x", integer=True)
    return figure


def intervals_figure(estimates: Mapping[str, Estimate], name: str, *, in_percent: bool) -> Figure:
    """Estimates one below the other, each with its 95 % interval."""
    known = {label: found for label, found in estimates.items() if not np.isnan(found.value)}
    figure, (axes,) = _figure((3.9, 0.9 + 0.32 * len(known)), name, "")
    # Room for a number that stands out at the end of the axis.
    figure.set_layout_engine("constrained", w_pad=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    if in_percent:
        _in_percent(axes.xaxis)
    for row, found in enumerate(known.values()):
        axes.plot([found.low, found.high], [row, row], color=SERIES[0], lw=2)
        axes.plot(found.value, row, "o", color=SERIES[0], ms=7)
    axes.set_yticks(range(len(known)), [_plain(label) for label in known])
    axes.set_ylim(len(known) - 0.5, -0.5)
    return figure


def steps_figure(
    series: Mapping[str, Mapping[str, Estimate]], name: str, *, limit: float | None = None
) -> Figure:
    """Series of estimates over the same rows, with 95 % intervals, one row below the other.

    Dotted in a series' colour is its first row, with which the others are compared; or, where one
    is given, the ``limit`` that all shall keep is a line.
    """
    rows = list(next(iter(series.values())))
    figure, (axes,) = _figure((5.6, 1.3 + 0.3 * len(rows)), name, "")
    handles = {}
    offsets = np.linspace(-0.16, 0.16, len(series)) if len(series) > 1 else (0.0,)
    for offset, (label, found, style, marker) in zip(offsets, _series(series), strict=True):
        color = style["color"]
        for row, estimate in enumerate(found.values()):
            axes.plot([estimate.low, estimate.high], [row + offset] * 2, color=color, lw=2)
            (handles[label],) = axes.plot(
                estimate.value, row + offset, marker, color=color, ms=6, ls=""
            )
        if limit is None:
            axes.axvline(next(iter(found.values())).value, color=color, lw=1, ls=":")
    if limit is not None:
        axes.axvline(limit, color=_INK, lw=1.2)
    axes.set_yticks(range(len(rows)), [_plain(label) for label in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    _in_percent(axes.xaxis)
    _legend(figure, handles, columns=2)
    return figure


def patients_figure(people: Confusion) -> Figure:
    """One mark a person: filled have pneumonia, outlined do not, crossed out are errors."""
    figure, (axes,) = _figure((5.6, 4.4), "", "")
    cross: dict[str, Any] = {"ls": "", "marker": "x", "ms": 4.2, "mew": 1.1, "color": _INK}
    groups = (
        ("true positive", people.tp, {"color": SERIES[0]}, False),
        ("false negative", people.fn, {"color": SERIES[1]}, True),
        ("false positive", people.fp, {"mec": SERIES[1], "mfc": "none", "mew": 0.8}, True),
        ("true negative", people.tn, {"mec": _GREY, "mfc": "none", "mew": 0.6}, False),
    )
    start, across, handles = 0, 40, {}
    for label, count, look, crossed in groups:
        y, x = np.divmod(np.arange(start, start + count), across)
        marks = axes.plot(x, y, ls="", marker=_PERSON, ms=8.6, **look)
        if crossed:
            marks += axes.plot(x, y, **cross)
        handles[f"{count} {label}"] = tuple(marks)
        start += count
    axes.set(xlim=(-0.7, across - 0.3), ylim=(start / across - 0.3, -0.7))
    axes.set_axis_off()
    _legend(figure, handles, columns=2)
    return figure


def _figure(
    inches: tuple[float, float], x: str, y: str, *, rows: int = 1
) -> tuple[Figure, np.ndarray]:
    """An empty figure with ``rows`` axes that share x, in the colours of the house."""
    figure = Figure(figsize=inches, layout="constrained")
    panels = figure.subplots(rows, sharex=True, squeeze=False)[:, 0]
    for axes in panels:
        axes.set_facecolor("none")
        axes.tick_params(colors=_INK, labelsize=9)
        axes.spines[:].set_color(_GREY)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=_GREY, alpha=0.2, lw=0.6)
        axes.set_axisbelow(True)
        axes.set_ylabel(y, color=_INK)
    panels[-1].set_xlabel(x, color=_INK)
    return figure, panels


def _rates(x: str, y: str) -> tuple[Figure, Axes]:
    """Square axes from 0 to 1 both ways."""
    figure, (axes,) = _figure((5.2, 5.0), x, y)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), box_aspect=0.85)
    _in_percent(axes.xaxis, axes.yaxis)
    return figure, axes


def _in_percent(*axes: Axis) -> None:
    # No more digits than a tick needs, so that neighbours do not touch.
    written = FuncFormatter(lambda value, _: f"{100 * value:.4g}{PERCENT_SIGN}")
    for axis in axes:
        axis.set_major_formatter(written)


def _magnified(
    axes: Axes, place: tuple[float, float, float, float], *, x: tuple[float, float]
) -> Axes:
    """Empty axes inside others, at ``place`` (shares of their size), for their upper corner."""
    inset = axes.inset_axes(place, xlim=x, ylim=(1 - CORNER, 1), facecolor="none")
    inset.tick_params(colors=_INK, labelsize=7)
    inset.spines[:].set_color(_GREY)
    inset.grid(color=_GREY, alpha=0.2, lw=0.6)
    for axis in (inset.xaxis, inset.yaxis):
        axis.set_major_locator(MaxNLocator(4))
    _in_percent(inset.xaxis, inset.yaxis)
    inset.set_axisbelow(True)
    axes.indicate_inset((x[0], 1 - CORNER, CORNER, CORNER), edgecolor=_GREY, alpha=0.6)
    return inset


def _band(axes: Axes, band: Band, style: Mapping[str, Any]) -> None:
    axes.fill_between(band.x, band.low, band.high, color=style["color"], alpha=0.18, lw=0)


def _legend(figure: Figure, handles: Mapping[str, Any], columns: int = 1) -> None:
    figure.legend(
        list(handles.values()),
        [_plain(label) for label in handles],
        loc="outside lower left",
        ncols=columns,
        fontsize=9,
        labelcolor=_INK,
        frameon=False,
        handlelength=3,
    )


def _series(
    values: Mapping[str, T],
) -> Iterator[tuple[str, T, dict[str, Any], str]]:
    """Each label with its value, and what tells it apart: colour, dashes and mark."""
    looks = cycle(zip(SERIES, _DASHES, _MARKERS, strict=True))
    for (label, value), (color, dashes, marker) in zip(values.items(), looks, strict=False):
        yield label, value, {"color": color, "ls": dashes}, marker


def _plain(text: str) -> str:
    """Text that matplotlib does not read as a formula."""
    return text.replace("$", r"\$")


def _person() -> Outline:
    head = Outline.unit_circle()
    head = Outline(np.asarray(head.vertices) * 0.24 + (0, 0.7), head.codes)
    body = Outline(
        [(-0.5, -1), (-0.5, 0), (-0.5, 0.34), (0, 0.34), (0.5, 0.34), (0.5, 0), (0.5, -1),
         (-0.5, -1)],
        [Outline.MOVETO, Outline.LINETO, Outline.CURVE3, Outline.CURVE3, Outline.CURVE3,
         Outline.CURVE3, Outline.LINETO, Outline.CLOSEPOLY],
    )  # fmt: skip
    return Outline.make_compound_path(head, body)


_PERSON = _person()

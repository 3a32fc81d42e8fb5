"""One radiograph's reading as a page of PDF."""

import io
import textwrap
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cxrlib import plots
from cxrlib.formatting import percent, rate
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.methods import METHODS
from cxrlib.metrics import OperatingPoint
from cxrlib.runs.operating_points import POINT_TITLES

_A4_INCHES = (8.27, 11.69)
_LINE, _GAP, _FOOT = 0.0175, 0.012, 0.07  # shares of the page's height
_INK, _ACCENT = "#16191b", "#0b7285"


def pdf(
    name: str,
    pixels: np.ndarray,
    overlays: dict[str, np.ndarray],
    prediction: Prediction,
    *,
    trust: str,
    warnings: Sequence[str],
) -> bytes:
    """A reading as one A4 page.

    Args:
        name: what the page calls the image.
        pixels: ``uint8 [height, width]``, as shown.
        overlays: up to two of ``uint8 [height, width, 3]``, by key of `METHODS`.
        prediction: what the run said of it.
        trust: how far the run was tested, a few sentences.
        warnings: what was said of the image.
    """
    figure = Figure(figsize=_A4_INCHES)
    mark, words = plots.VERDICTS[prediction.verdict]
    probability, point = prediction.probability, prediction.point

    def write(x: float, y: float, text: str, size: float = 10, **options: Any) -> None:
        figure.text(x, y, text, fontsize=size, color=_INK, va="top", parse_math=False, **options)

    write(0.08, 0.955, "Chest radiograph: reading by a neural network", 16, weight="bold")
    write(0.08, 0.925, _title(name), 11)
    write(
        0.08, 0.907, f"{datetime.now().astimezone():%Y-%m-%d %H:%M UTC%z} · run {prediction.run}", 9
    )
    write(0.08, 0.872, f"{mark}  {words}", 18, weight="bold")
    write(
        0.08,
        0.838,
        f"Probability of pneumonia {percent(probability)}. Threshold "
        f"{rate(point.threshold)} (operating point: {POINT_TITLES[point.name]}).",
    )
    _draw_bar(figure, probability, point)

    paragraphs = [
        *(f"{METHODS[m].title}: {METHODS[m].shows} {METHODS[m].limits}" for m in overlays),
        *(f"Warning: {warning}" for warning in warnings),
        trust,
    ]
    wrapped = [textwrap.wrap(paragraph, 98) for paragraph in paragraphs]
    written = sum(_LINE * len(lines) + _GAP for lines in wrapped)

    images = {"Radiograph": pixels}
    images |= {METHODS[method].title: image for method, image in overlays.items()}
    width, top = 0.27, 0.735
    height = min(
        width * _A4_INCHES[0] / _A4_INCHES[1] * pixels.shape[0] / pixels.shape[1],
        max(top - 0.03 - written - _FOOT, 0.1),  # the text comes first
    )
    for column, (title, image) in enumerate(images.items()):
        axes = figure.add_axes((0.08 + column * 0.285, top - height, width, height))
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=10, color=_INK)
        axes.axis("off")

    y = top - height - 0.03
    for lines in wrapped:
        write(0.08, y, "\n".join(lines), 9.5, linespacing=1.35)
        y -= _LINE * len(lines) + _GAP
    write(
        0.08,
        _FOOT,
        "For education and research. Not for diagnosis: the probability and the heatmaps show\n"
        "what the network computed, not what the patient has.",
        9.5,
        linespacing=1.35,
        weight="bold",
    )

    page = io.BytesIO()
    metadata = {"Title": "Chest radiograph reading", "Creator": "cxrlib"}
    with PdfPages(page, metadata=metadata) as book:
        book.savefig(figure, dpi=200)
    return page.getvalue()


def _title(name: str) -> str:
    """The name in one line: it may be of any length, and hold anything."""
    line = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return line if len(line) <= 90 else f"{line[:89]}…"


def _draw_bar(figure: Figure, probability: float, point: OperatingPoint) -> None:
    axes = figure.add_axes((0.08, 0.785, 0.84, 0.02), xlim=(0, 1), ylim=(0, 1))
    axes.add_patch(Rectangle((0, 0), 1, 1, color="#dfe5e7", lw=0))
    axes.add_patch(
        Rectangle(
            (point.low, 0), point.high - point.low, 1, fill=False, hatch="/////", ec="#8a9499", lw=0
        )
    )
    axes.axvline(point.threshold, color=_INK, lw=2)
    axes.plot([probability], [0.5], "o", ms=11, color=_ACCENT, mec=_INK, clip_on=False)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"], fontsize=8)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)

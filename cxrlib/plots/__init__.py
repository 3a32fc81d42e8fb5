"""Figures from numbers, and images from heatmaps. No TensorFlow.

One visual language: grey radiographs, perceptually uniform colour maps, transparent where a
heatmap is cold, so that the radiograph stays readable under it. Figures have no background and
few colours, which stand out on black and on white and never carry a meaning alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from cxrlib.plots.charts import (
    DECIMAL,
    LOCALE,
    PERCENT_TICKS,
    RATE,
    Spec,
    calibration_chart,
    histogram_chart,
    learning_charts,
    precision_recall_chart,
    roc_chart,
)
from cxrlib.plots.colours import INK, SERIES
from cxrlib.plots.verdicts import REFUSED, VERDICTS, verdict_bar

if TYPE_CHECKING:
    from cxrlib.plots.figures import (
        calibration_figure,
        classes_figure,
        confusion_figure,
        histogram_figure,
        intervals_figure,
        learning_figure,
        patients_figure,
        png,
        precision_recall_figure,
        roc_figure,
        steps_figure,
        svg,
    )
    from cxrlib.plots.overlays import (
        COLOUR_MAPS,
        for_overlay,
        for_screen,
        heat_legend,
        jpeg,
        outlined,
        overlay,
    )

__all__ = [
    "COLOUR_MAPS",
    "DECIMAL",
    "INK",
    "LOCALE",
    "PERCENT_TICKS",
    "RATE",
    "REFUSED",
    "SERIES",
    "VERDICTS",
    "Spec",
    "calibration_chart",
    "calibration_figure",
    "classes_figure",
    "confusion_figure",
    "for_overlay",
    "for_screen",
    "heat_legend",
    "histogram_chart",
    "histogram_figure",
    "intervals_figure",
    "jpeg",
    "learning_charts",
    "learning_figure",
    "outlined",
    "overlay",
    "patients_figure",
    "png",
    "precision_recall_chart",
    "precision_recall_figure",
    "roc_chart",
    "roc_figure",
    "steps_figure",
    "svg",
    "verdict_bar",
]


def __getattr__(name: str) -> object:
    """Load what draws with matplotlib when it is first asked for.

    A reading draws nothing with it, and would wait 0.3 s and hold 30 MB.
    """
    if name in __all__:
        for module in ("figures", "overlays"):
            found = import_module(f"{__name__}.{module}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""What a finished run's ``metrics.json`` and ``predictions.csv`` hold, read back."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cxrlib import metrics
from cxrlib.runs.contents import METRIC_TITLES
from cxrlib.runs.folder import Run, RunError
from cxrlib.runs.provenance import trained_on

if TYPE_CHECKING:
    import pandas as pd

_SET_NAME = re.compile(r"\w[\w .-]{0,39}")
_SPLIT_NAMES = ("train", "val", "validation", "test")


def read_points(run_metrics: Mapping[str, Any]) -> dict[str, metrics.OperatingPoint]:
    """The operating points that a run's ``metrics.json`` holds."""
    return {
        name: metrics.OperatingPoint(name, **ends)
        for name, ends in run_metrics["operating_points"].items()
    }


def read_calibration(run_metrics: Mapping[str, Any]) -> metrics.Calibration:
    """The calibration that a run's ``metrics.json`` holds."""
    stored = run_metrics["calibration"]
    return metrics.Calibration(stored["temperature"], tuple(stored["offsets"]))


def held_out(run: Run, table: "pd.DataFrame") -> "pd.Series":
    """Which images of an index a run was validated on, ``bool`` aligned with ``table``.

    By the run's record: a folder with one image more or less would be split otherwise, and
    images that the run was trained on would pass for held out.

    Raises:
        RunError: the index lacks some of them, or the run's files are damaged.
    """
    paths = run.predictions.query("split == 'validation'").path
    missing = paths[~paths.isin(table.path)]
    if len(missing):
        raise RunError(
            f"The run {run.name} was validated on {len(paths)} images, of which {len(missing)} "
            f"are not in this folder ({missing.iloc[0]} is one). Name the folder that it was "
            "trained on, as it was then, or measure the run on another split."
        )
    return table.path.isin(paths)


def estimates(
    run_metrics: Mapping[str, Any], split: str, point: str
) -> dict[str, metrics.Estimate]:
    """A run's metrics on one split at one operating point."""
    return estimates_of(run_metrics["splits"][split], point)


def estimates_of(measured: Mapping[str, Any], point: str) -> dict[str, metrics.Estimate]:
    """The same of one entry of a run's splits; undefined what it does not have."""
    found = metrics.summary_from_json(measured["points"][point])
    unknown = metrics.Estimate(math.nan, math.nan, math.nan)
    return {name: found.get(name, unknown) for name in METRIC_TITLES}


def split_titles(run_metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the splits that a run can be measured on are called."""
    return {
        "test": "official test" if trained_on(run_metrics) == "kaggle" else "test",
        "validation": "validation",
    }


def set_titles(run: Run) -> dict[str, str]:
    """What all sets of images are called that a run was measured on: its splits, and those kept.

    Raises:
        RunError: the run's files are damaged.
    """
    found = run.metrics
    titles = {name: title for name, title in split_titles(found).items() if name in found["splits"]}
    return titles | {name: name for name in run.kept}


def check_set_name(name: str) -> str:
    """``name`` itself, where results can be kept under it.

    Raises:
        RunError: they cannot.
    """
    if not _SET_NAME.fullmatch(name) or name in _SPLIT_NAMES:
        raise RunError(
            f"Results cannot be kept under {name!r}: a name has up to 40 letters, digits, spaces, "
            f"dots, dashes and underscores, and is none of {', '.join(_SPLIT_NAMES)}."
        )
    return name

"""What a finished run's ``metrics.json`` and ``predictions.csv`` hold, read back."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cxrlib import metrics
from cxrlib.runs.folder import Run, RunError
from cxrlib.runs.provenance import trained_on


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


def held_out(run: Run, table: pd.DataFrame) -> pd.Series:
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
    return metrics.summary_from_json(run_metrics["splits"][split]["points"][point])


def split_titles(run_metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the splits that a run can be measured on are called."""
    return {
        "test": "official test" if trained_on(run_metrics) == "kaggle" else "test",
        "validation": "validation",
    }

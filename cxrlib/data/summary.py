"""What a run was trained on, in numbers that come with it, where its images do not."""

from typing import Any

import pandas as pd

from cxrlib.data import dataset, overview, shortcuts
from cxrlib.data.folds import assign_folds
from cxrlib.data.overview import Shared
from cxrlib.runs import ensembles
from cxrlib.runs.config import seed_of_split
from cxrlib.runs.folder import Run, RunError


def folds_of(run: Run, table: pd.DataFrame) -> pd.Series:
    """Which side each image of an index was on when a run was trained.

    Raises:
        RunError: the run was made with other images.
    """
    config = ensembles.networks(run)[0].config
    folds = assign_folds(
        table,
        validation_fraction=config["validation_fraction"],
        seed=seed_of_split(config),
        balanced=config.get("balanced_validation", False),
    )
    recorded = run.predictions.query("split == 'validation'").path
    if set(recorded) != set(table.path[folds == "validation"]):
        raise RunError(
            f"The run {run.name} was trained on other images than are in {table.attrs['root']}: "
            "name the folder that it was trained on."
        )
    return folds


def summarize(run: Run, table: pd.DataFrame) -> dict[str, Any]:
    """Counts, copies and shortcuts of the images that a run was trained on, for JSON.

    Args:
        run: a finished run.
        table: `dataset.index` of the images.

    Raises:
        RunError: the run was made with other images.
        RadiographError: an image cannot be read.
    """
    folds = folds_of(run, table)
    values = shortcuts.measures(table, shortcuts.exposure(table))
    constant = {name: float(values[name].iloc[0]) for name in values if values[name].nunique() == 1}
    values = values.drop(columns=list(constant))
    copies = dataset.duplicates(table)
    return {
        "images": len(table),
        "imbalance": overview.imbalance(table),
        "completeness": overview.completeness(table),
        "counts": {
            name: _records(overview.counts(table, sides).rename_axis("side").reset_index())
            for name, sides in (("folders", table.split), ("split", folds))
        },
        "copies": {"files": len(copies), "images": int(copies.group.nunique())},
        "shared": {
            name: _shared(overview.shared(table, sides))
            for name, sides in (("folders", table.split), ("split", folds))
        },
        "constant": constant,
        "separations": _records(shortcuts.separations(table, values)),
        "histograms": {
            name: _records(shortcuts.histogram(table, values[name]).round(4)) for name in values
        },
    }


def _shared(found: Shared) -> dict[str, int]:
    return {"patients": len(found.patients), "copies": len(found.copies)}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return table.to_dict("records")

"""What could betray the class of an image: its size, shape, brightness and contrast.

A network learns whatever tells the classes apart. Where the size of an image does, or its
brightness, that is a shortcut: it works on this data set and nowhere else.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.images.preprocess import cached_pixels
from cxrlib.images.radiograph import RadiographError
from cxrlib.labels import BINARY, CLASSES, NORMAL, PNEUMONIA, is_pneumonia
from cxrlib.metrics import REPLICATES, Estimate
from cxrlib.metrics.bootstrap import cluster_bootstrap, percentile_interval
from cxrlib.metrics.curves import Ranking, area_under_roc
from cxrlib.metrics.estimates import covering

# Exposure is measured on a grid that is the same for all: on full images, finer detail would
# count as contrast, and so the size as exposure.
_GRID = 64
MEASURES = {
    "width": "Width (pixels)",
    "height": "Height (pixels)",
    "megapixels": "Size (megapixels)",
    "aspect": "Aspect ratio (width / height)",
    "brightness": "Brightness (mean grey level)",
    "contrast": "Contrast (standard deviation of grey levels)",
}


def exposure(
    table: pd.DataFrame,
    *,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """Mean and standard deviation of each image's grey levels, on a 64 × 64 grid.

    Args:
        table: rows of `dataset.index`.
        folder: as for `preprocess.cached_pixels`.
        progress: likewise.

    Returns:
        Columns ``brightness`` and ``contrast``, 0..255, aligned with ``table``.

    Raises:
        RadiographError: an image cannot be read; the message names it.
    """
    grids = cached_pixels(table, _GRID, folder=folder, progress=progress)
    levels = np.asarray(grids, dtype=np.float32)
    return pd.DataFrame(
        {"brightness": levels.mean(axis=(1, 2)), "contrast": levels.std(axis=(1, 2))},
        index=table.index,
    )


class ExposureTask(threading.Thread):
    """`exposure` in the background, which takes about a minute for the whole Kaggle set.

    Attributes:
        share: how much is done, 0..1.
        result: what came out, or None.
        problem: why nothing came out, or empty.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        super().__init__(daemon=True, name="exposure")
        self._table = table
        self.share = 0.0
        self.result: pd.DataFrame | None = None
        self.problem = ""
        self.start()

    def run(self) -> None:
        """Measure; called by the thread."""
        try:
            self.result = exposure(self._table, progress=self._report)
        except (RadiographError, OSError) as error:
            self.problem = str(error)

    def _report(self, share: float) -> None:
        self.share = share


def measures(table: pd.DataFrame, exposures: pd.DataFrame | None) -> pd.DataFrame:
    """Those of `MEASURES` that are known, a column each, aligned with ``table``."""
    sizes = pd.DataFrame(
        {
            "width": table.width,
            "height": table.height,
            "megapixels": table.width * table.height / 1e6,
            "aspect": table.width / table.height,
        }
    )
    return sizes if exposures is None else sizes.join(exposures)


@dataclass(frozen=True)
class Separation:
    """How well one measure alone tells pneumonia from normal.

    Attributes:
        auc: area under the ROC curve, from 0.5 (not at all) to 1 (always), its interval
            bootstrapped over patients; ``nan`` with one class.
        higher: the label with the larger values.
    """

    auc: Estimate
    higher: str

    @property
    def words(self) -> str:
        """The finding in words, judged by the lower end of its interval."""
        if not self.auc.low > 0.55:
            return "little or none"
        strength = "weak"
        if self.auc.low > 0.65:
            strength = "strong"
        if self.auc.low > 0.8:
            strength = "very strong"
        return f"{strength}: {self.higher.lower()} is larger"


def univariate_auc(table: pd.DataFrame, values: pd.Series) -> Separation:
    """How far one number of each image gives its class away.

    Args:
        table: rows of `dataset.index`.
        values: the number, aligned with ``table``.
    """
    positive = is_pneumonia(table.label)
    ranking = Ranking(positive, values.to_numpy(dtype=np.float64))

    def auc(weights: np.ndarray) -> np.ndarray:
        return area_under_roc(*ranking.counts(weights))[:, None]

    value = auc(np.ones((1, len(table))))[0, 0]
    drawn = cluster_bootstrap(auc, len(table), table.patient, replicates=REPLICATES, seed=0)
    (low,), (high,) = percentile_interval(drawn)
    if value < 0.5:
        return Separation(covering(1 - value, 1 - high, 1 - low), NORMAL)
    return Separation(covering(value, low, high), PNEUMONIA)


def separations(table: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """How far each measure alone separates the classes, in train and val and in test.

    Args:
        table: rows of `dataset.index`.
        values: a column a measure, aligned with it.

    Returns:
        One row a measure, as text: AUC with its interval, what that means, and median and
        quartiles by class.
    """
    official = table.split == "test"
    rows = []
    for name in values:
        row: dict[str, str] = {"Measure": MEASURES[name].partition(" (")[0]}
        for title, part in (("AUC, train and val", ~official), ("AUC, test", official)):
            if part.any():
                found = univariate_auc(table[part], values[name][part])
                row[title] = str(found.auc)
                row.setdefault("Strength", found.words)
        for label, title in CLASSES.items():
            low, middle, high = values[name][table.label == label].quantile([0.25, 0.5, 0.75])
            row[title] = f"{middle:.3g} ({low:.3g}–{high:.3g})"
        rows.append(row)
    return pd.DataFrame(rows)


def histogram(table: pd.DataFrame, values: pd.Series) -> pd.DataFrame:
    """How a number is spread in each class.

    The outermost bins hold what lies beyond the 0.5th and the 99.5th percentile; few images
    get few bins.

    Returns:
        Columns ``label``, ``value`` (left end of the bin), ``share`` (of the class, 0..1);
        a row more than bins for each class, the last one closing the steps.
    """
    bins = int(np.clip(np.sqrt(table.label.value_counts().min()), 5, 30))
    low, high = np.quantile(values, (0.005, 0.995))
    ends = np.linspace(low, high, bins + 1)
    clipped = values.clip(low, high)
    parts = []
    for label in BINARY:
        number, _ = np.histogram(clipped[table.label == label], ends)
        share = np.append(number, number[-1]) / max(1, number.sum())
        parts.append(pd.DataFrame({"label": label, "value": ends, "share": share}))
    return pd.concat(parts, ignore_index=True)

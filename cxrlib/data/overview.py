"""What a data set is like, in numbers: counts, patients, and what could betray the class.

A network learns whatever tells the classes apart. Where the size of an image does, or its
brightness, that is a shortcut: it works on this data set and nowhere else.
"""

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.data import dataset
from cxrlib.images.preprocess import cache_folder, cached_pixels
from cxrlib.images.radiograph import RadiographError
from cxrlib.labels import BINARY, NORMAL, PNEUMONIA, is_pneumonia
from cxrlib.metrics import REPLICATES, Estimate
from cxrlib.metrics.bootstrap import cluster_bootstrap, percentile_interval
from cxrlib.metrics.curves import Ranking, area_under_roc
from cxrlib.metrics.estimates import covering

_INDEX_VERSION = 2  # raise when `dataset.index` changes what it returns
# Exposure is measured on a grid that is the same for all: on full images, finer detail would
# count as contrast, and so the size as exposure.
_GRID = 64

CLASSES = {NORMAL: "Normal", PNEUMONIA: "Pneumonia"}
SIZES = ("Smallest quarter", "Middle half", "Largest quarter")
# Title of an order → measure, and whether the smallest comes first.
ORDERS = {
    "Mixed": ("digest", True),  # of the files' content: the same mixture each time
    "By name": ("path", True),
    "Smallest first": ("megapixels", True),
    "Widest first": ("aspect", False),
    "Darkest first": ("brightness", True),
    "Brightest first": ("brightness", False),
    "Flattest first": ("contrast", True),
}
MEASURES = {
    "width": "Width (pixels)",
    "height": "Height (pixels)",
    "megapixels": "Size (megapixels)",
    "aspect": "Aspect ratio (width / height)",
    "brightness": "Brightness (mean grey level)",
    "contrast": "Contrast (standard deviation of grey levels)",
}


def cached_index(folder: Path, *, cache: Path | None = None) -> pd.DataFrame:
    """`dataset.index`, from a copy kept under `dataset.fingerprint` where there is one.

    Args:
        folder: as for `dataset.index`.
        cache: where copies are kept; by default `preprocess.cache_folder`.

    Raises:
        DatasetError: as `dataset.index`.
    """
    cache = cache or cache_folder()
    file = cache / f"index-{_INDEX_VERSION}-{dataset.fingerprint(folder)}.csv"
    try:
        table = _kept_index(file)
    except (FileNotFoundError, ValueError):  # there is none, or half of one
        table = dataset.index(folder)
        rows = table.to_csv(index=False)
        facts = {"digest": _digest(rows), "left_out": table.attrs["left_out"]}
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        partial.write_text(f"{json.dumps(facts)}\n{rows}", encoding="utf-8")
        partial.replace(file)
        # Read back, so that the first answer is no other than the next.
        table = _kept_index(file)
    table.attrs["root"] = str(dataset.find_root(folder))
    return table


def _kept_index(file: Path) -> pd.DataFrame:
    text = dict.fromkeys(("path", "split", "label", "subtype", "patient", "digest"), str)
    head, _, rows = file.read_text(encoding="utf-8").partition("\n")
    facts = json.loads(head)
    if facts["digest"] != _digest(rows):
        raise ValueError(f"{file} is cut off")
    table = pd.read_csv(io.StringIO(rows), dtype=text, keep_default_na=False)
    table.attrs["left_out"] = facts["left_out"]
    return table


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def counts(table: pd.DataFrame, sides: pd.Series) -> pd.DataFrame:
    """Images and patients of each side of a split, one row a side in order of appearance.

    Args:
        table: rows of `dataset.index`.
        sides: aligned with it; the official ``split``, or `folds.assign_folds`.

    Returns:
        Index: the sides. Columns ``pictures``, ``normal``, ``pneumonia``, ``bacterial``,
        ``viral`` (images), ``patients``, ``share`` (of pneumonia, 0..1).
    """
    found = pd.DataFrame(
        {
            "pictures": 1,
            "normal": table.label == NORMAL,
            "pneumonia": is_pneumonia(table.label),
            "bacterial": table.subtype == "bacterial",
            "viral": table.subtype == "viral",
        }
    )
    by_side = found.groupby(sides, sort=False).sum().astype(int)
    by_side["patients"] = table.groupby(sides, sort=False).patient.nunique()
    by_side["share"] = by_side.pneumonia / by_side.pictures
    return by_side.rename_axis(None)


def imbalance(table: pd.DataFrame) -> str:
    """How unequal the classes are and what follows, in words (Markdown)."""
    positive = int(is_pneumonia(table.label).sum())
    negative = len(table) - positive
    more, fewer = ("pneumonia", "normal") if positive >= negative else ("normal", "pneumonia")
    larger = max(positive, negative)
    what = "with pneumonia" if more == "pneumonia" else "normal ones"
    return (
        f"For each {fewer} image there are **{larger / (len(table) - larger):.1f} {what}**. "
        f"Always answering *{more}* would be right {100 * larger / len(table):.0f} % of the time: "
        "accuracy alone says little here. Runs weigh the rarer class more by default, and are "
        "judged by sensitivity and specificity."
    )


def completeness(table: pd.DataFrame) -> str:
    """How a folder compares with the whole Kaggle set, in words."""
    whole = dataset.KAGGLE_PICTURES
    here = {split: int((table.split == split).sum()) for split in whole}
    if here == whole:
        return f"This is the whole Kaggle set, {sum(whole.values()):,} images."
    lacking = [
        f"{split} has {here[split]:,} of {total:,}"
        for split, total in whole.items()
        if here[split] != total
    ]
    return (
        f"This is not the whole Kaggle set, which has {sum(whole.values()):,} images: "
        f"{', '.join(lacking)}."
    )


@dataclass(frozen=True)
class Shared:
    """What two sides of a split have in common: names of patients, and groups of file paths."""

    patients: list[str]
    copies: list[list[str]]


def shared(table: pd.DataFrame, sides: pd.Series) -> Shared:
    """Patients and byte-identical images that are on more than one side.

    Patients of the official test folder are left out: their numbers start again there, so that
    the same number is no sign of the same patient. What is ``excluded`` is on no side.

    Args:
        table: rows of `dataset.index`.
        sides: aligned with it.
    """
    sides = sides[sides != "excluded"]
    table = table.loc[sides.index]
    known = table.split != "test"
    spread = sides[known].groupby(table.patient[known]).nunique()
    copied = sides.groupby(table.digest).transform("nunique") > 1
    return Shared(
        sorted(spread.index[spread > 1]),
        [paths.tolist() for _, paths in table.path[copied].groupby(table.digest[copied])],
    )


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
            return "says little or nothing"
        strength = "a hint"
        if self.auc.low > 0.65:
            strength = "a strong hint"
        if self.auc.low > 0.8:
            strength = "nearly gives it away"
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
        row: dict[str, str] = {"Alone": MEASURES[name].partition(" (")[0]}
        for title, part in (("AUC, train and val", ~official), ("AUC, test", official)):
            if part.any():
                found = univariate_auc(table[part], values[name][part])
                row[title] = str(found.auc)
                row.setdefault("In words", found.words)
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


@dataclass(frozen=True)
class Selection:
    """Which images to show; an empty field lets all through.

    Attributes:
        split: train, val or test, the official one.
        label: NORMAL or PNEUMONIA.
        subtype: bacterial or viral.
        size: one of `SIZES`, by the number of pixels in the whole table.
        name: part of the file's path, in any case.
        copies: only images that are there more than once, copies side by side.
        order: one of `ORDERS`.
    """

    split: str = ""
    label: str = ""
    subtype: str = ""
    size: str = ""
    name: str = ""
    copies: bool = False
    order: str = "By name"


def select(table: pd.DataFrame, values: pd.DataFrame, wanted: Selection) -> pd.DataFrame:
    """The rows of `dataset.index` that are wanted, in the order that is wanted.

    Args:
        table: rows of `dataset.index`.
        values: their `measures`; must hold what ``wanted.order`` goes by.
        wanted: what to let through.
    """
    keep = table.path.str.contains(wanted.name.strip(), case=False, regex=False)
    for column in ("split", "label", "subtype"):
        value = getattr(wanted, column)
        if value:
            keep &= table[column] == value
    if wanted.size:
        low, high = values.megapixels.quantile([0.25, 0.75])
        keep &= {
            SIZES[0]: values.megapixels < low,
            SIZES[1]: values.megapixels.between(low, high),
            SIZES[2]: values.megapixels > high,
        }[wanted.size]
    if wanted.copies:
        keep &= table.duplicated("digest", keep=False)
    column, ascending = ORDERS[wanted.order]
    key = (table if column in table else values)[column]
    rows = table.loc[key[keep].sort_values(ascending=ascending, kind="stable").index]
    if wanted.copies:
        rows = rows.iloc[np.argsort(pd.factorize(rows.digest)[0], kind="stable")]
    return rows


def kind(row: pd.Series) -> str:
    """Class and subtype of a row of `dataset.index`, in words."""
    return CLASSES[row.label] + (f", {row.subtype}" if row.subtype else "")


def facts(table: pd.DataFrame, row: pd.Series, picture: np.ndarray) -> dict[str, str]:
    """What is known of one image, in words.

    Args:
        table: rows of `dataset.index`.
        row: one of them.
        image: its pixels, ``uint8 [height, width]``.
    """
    # Patient numbers start again in the official test folder.
    same = (table.patient == row.patient) & ((table.split == "test") == (row.split == "test"))
    copies = table.path[(table.digest == row.digest) & (table.path != row.path)]
    return {
        "Class": kind(row),
        "Folder": row.split,
        "Patient": f"{row.patient}, {same.sum()} image{'s' if same.sum() > 1 else ''}",
        "Size": f"{row.width} × {row.height} pixels",
        "Aspect ratio": f"{row.width / row.height:.2f}",
        "Brightness": f"{picture.mean():.0f} of 255",
        "Contrast": f"{picture.std():.0f} grey levels",
        "Identical to": ", ".join(copies) or "no other",
    }

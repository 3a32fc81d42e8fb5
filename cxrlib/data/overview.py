"""What a data set consists of: counts by side and class, patients, and what sides share."""

from dataclasses import dataclass

import pandas as pd

from cxrlib.data import dataset
from cxrlib.formatting import percent
from cxrlib.labels import NORMAL, is_pneumonia


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
        f"Always answering *{more}* would be right {percent(larger / len(table))} of the time: "
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

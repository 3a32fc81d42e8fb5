"""Images of a data set to look at: which, in what order, and what is known of each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxrlib.labels import CLASSES

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


def facts(table: pd.DataFrame, row: pd.Series, image: np.ndarray) -> dict[str, str]:
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
        "Brightness": f"{image.mean():.0f} of 255",
        "Contrast": f"{image.std():.0f} grey levels",
        "Identical to": ", ".join(copies) or "no other",
    }

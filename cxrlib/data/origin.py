"""Where the images of a data set come from: the Kaggle set, part of it, a program, elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING

from cxrlib.data import dataset
from cxrlib.labels import NORMAL
from cxrlib.runs.provenance import TrainedOn
from cxrlib.synthetic.phantom import MARK

if TYPE_CHECKING:
    import pandas as pd


def origin(table: "pd.DataFrame") -> TrainedOn:
    """What a run trained on an index (`dataset.index`) was trained on.

    Synthetic radiographs are told by the file that `phantom.write_dataset` puts beside them, the
    Kaggle set by its numbers of images, a part of it by the names of its files.
    """
    if Path(table.attrs["root"], MARK).exists():
        return "synthetic"
    if dataset.is_kaggle(table):
        return "kaggle"
    names = table.path.str.rpartition("/")[2]
    named = names.map(dataset.is_kaggle_name) & (
        names.str.startswith("person") == (table.label != NORMAL)
    )
    counts = table.split.value_counts()
    fits = all(counts.get(split, 0) <= total for split, total in dataset.KAGGLE_PICTURES.items())
    return "kaggle_part" if named.all() and fits else "other"

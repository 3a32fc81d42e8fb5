"""Lists of cases to read, drawn by a seed, and the radiograph of each.

Nothing in a list's order or in the image that is shown tells the label: lists are shuffled,
and images are passed on as grey values, without their names.
"""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.data import dataset
from cxrlib.images import files, radiograph
from cxrlib.images.radiograph import Radiograph, RadiographError
from cxrlib.labels import BINARY, NORMAL, PNEUMONIA, is_pneumonia
from cxrlib.metrics import OperatingPoint
from cxrlib.synthetic import phantom

_PHANTOM_SIDE = 768

# Which of a run's images are taken, by name, in words.
STRATEGIES = {
    "random": "Random",
    "balanced": "Balanced: half normal, half pneumonia",
    "hardest": "Hardest: farthest on the wrong side",
    "errors": "Errors of the model",
    "uncertain": "Uncertain: nearest the operating point",
}


@dataclass(frozen=True)
class Case:
    """A radiograph to be read.

    Attributes:
        path: where `open_case` finds it.
        case_key: the same for the same radiograph, whoever reads it.
        label: ``NORMAL``, ``PNEUMONIA``, or empty where nobody knows.
        subtype: ``bacterial``, ``viral`` or empty.
        probability: what the model said of it, where that is known already.
    """

    path: str
    case_key: str
    label: str = ""
    subtype: str = ""
    probability: float | None = None


def run_cases(
    predictions: pd.DataFrame,
    *,
    strategy: str,
    point: OperatingPoint,
    length: int,
    seed: int,
    folder: Path | None,
) -> list[Case]:
    """Cases of a run's predictions, in random order, at most one of a patient.

    Args:
        predictions: rows of `runs.Run.predictions` of one split.
        strategy: one of `STRATEGIES`.
        point: the operating point that *errors* and *uncertain* go by.
        length: how many at most.
        seed: the same seed draws the same list.
        folder: the data set; the images that are there are drawn. Where it has none of them, or
            is None, all are, to be fetched one by one.
    """
    rng = np.random.default_rng(seed)
    rows = predictions.sample(frac=1, random_state=rng)
    if folder is not None:
        root = dataset.find_root(folder)
        there = {file.relative_to(root).as_posix() for file in root.glob("*/*/*")}
        if rows.path.isin(there).any():
            rows = rows[rows.path.isin(there)]
    rows = _most_wanted(rows, strategy, point).drop_duplicates("patient")
    if strategy == "balanced":
        half = [rows[rows.label == label] for label in BINARY]
        each = min(length // 2, *map(len, half))
        rows = pd.concat([part.head(each) for part in half])
    rows = rows.head(length).sample(frac=1, random_state=rng)
    return [
        Case(row.path, f"dataset:{row.path}", row.label, row.subtype, float(row.probability))
        for row in rows.itertuples()
    ]


def _most_wanted(rows: pd.DataFrame, strategy: str, point: OperatingPoint) -> pd.DataFrame:
    positive = is_pneumonia(rows.label)
    if strategy == "hardest":
        right = rows.probability.where(positive, 1 - rows.probability)
        return rows.loc[right.sort_values(kind="stable").index]
    if strategy == "errors":
        return rows[positive != (rows.probability >= point.threshold)]
    if strategy == "uncertain":
        edge = 1e-6
        odds = np.log(rows.probability.clip(edge, 1 - edge) / (1 - rows.probability).clip(edge))
        away = (odds - np.log(point.threshold / (1 - point.threshold))).abs()
        return rows.loc[away.sort_values(kind="stable").index]
    return rows


def folder_cases(folder: Path, *, length: int, seed: int) -> list[Case]:
    """Cases of one's own images in a folder and the folders in it, in random order.

    An image in a folder ``NORMAL`` or ``PNEUMONIA`` has that label, any other none. Files that
    cannot be read as a radiograph, and second copies, are left out.
    """
    images, _ = files.find(folder)
    found: dict[str, Case] = {}
    for number in np.random.default_rng(seed).permutation(len(images)):
        file = images[number]
        try:
            data = files.load(file)
            radiograph.read(data)
        except RadiographError:
            continue
        key = f"file:{hashlib.blake2b(data, digest_size=16).hexdigest()}"
        label = file.parent.name if file.parent.name in BINARY else ""
        found.setdefault(key, Case(str(file.resolve()), key, label))
        if len(found) == length:
            break
    return list(found.values())


def practice_cases(*, length: int, seed: int) -> list[Case]:
    """Synthetic radiographs, half of them with an opacity, in random order."""
    rng = np.random.default_rng(seed)
    positive = rng.permutation(np.arange(length) % 2 == 0)
    seeds = rng.choice(2**31, length, replace=False)
    labels = np.where(positive, PNEUMONIA, NORMAL)
    return [
        Case(f"{number}/{label}", f"phantom:{number}/{label}", str(label))
        for number, label in zip(seeds, labels, strict=True)
    ]


def open_case(source: str, path: str, *, folder: Path | None = None) -> Radiograph:
    """The radiograph of a case.

    Args:
        source: ``run``, ``folder`` or ``practice``, as the session has it.
        path: as the case has it.
        folder: where the data set is; without it a run's case is fetched from Kaggle.

    Raises:
        RadiographError: it cannot be read.
        DatasetError: it is not at hand and cannot be fetched.
    """
    match source:
        case "run":
            return _from_dataset(path, folder)
        case "folder":
            return radiograph.read_file(Path(path))
        case _:
            return _drawn(path)


def _from_dataset(path: str, folder: Path | None) -> Radiograph:
    if folder is not None:
        with suppress(dataset.DatasetError):
            return radiograph.read_file(dataset.picture_file(folder, path))
    split, _, rest = path.partition("/")
    label, _, name = rest.partition("/")
    return radiograph.read(dataset.download_picture(split, label, name))


def _drawn(path: str) -> Radiograph:
    seed, _, label = path.partition("/")
    drawn = phantom.phantom(int(seed), pneumonia=label == PNEUMONIA, size=_PHANTOM_SIDE)
    return Radiograph(drawn.pixels, "Synthetic", ())

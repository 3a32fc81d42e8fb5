"""Other layouts of a data set than the Kaggle set's: what is in a folder, class by class.

Folders of classes, in any spelling, below or above folders of splits or without; or a table of
labels, as RSNA and NIH publish theirs, over a folder of images.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cxrlib.data import classes
from cxrlib.images import files

_SPLITS = {
    "train": ("train", "training", "trainset"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "testset"),
}
_SPLIT_OF = {name: split for split, names in _SPLITS.items() for name in names}
_NO_CLASSES = ("images", "image", "img", "pictures", "data")
_SKIPPED = ("masks", "mask", "macosx")
_DEEPEST = 5  # folders below the data set's
_LOOKED_AT = 5  # files of a folder, for whether it holds images
_MOST_CLASSES = 20  # of a table: a column with more values is no column of classes
_FILES = (
    "imageindex", "file", "filename", "image", "imagename", "imageid", "imagepath",
    "path", "xrayimagename", "patientid",
)  # fmt: skip
_LABELS = (
    "class", "label", "labels", "findinglabels", "finding", "findings", "target", "diagnosis",
)  # fmt: skip
_PATIENTS = ("patient", "patientid", "patientnumber", "subject", "subjectid")
_FOLDS = ("split", "fold", "set", "datasettype", "subset")
_OTHER = "other findings"
# What published tables mean by their classes.
_PUBLISHED = {
    "findinglabels": {_OTHER: classes.LEAVE_OUT},  # NIH ChestX-ray14, Wang et al., CVPR 2017
    "class": {  # RSNA Pneumonia Detection Challenge 2018
        "Lung Opacity": "pneumonia",
        "No Lung Opacity / Not Normal": classes.LEAVE_OUT,
    },
    "target": {"0": "normal", "1": "pneumonia"},
}
_NIH_TEST = "test_list.txt"


@dataclass(frozen=True)
class Entry:
    """A file that should be an image: its split, the class as the data set calls it, and the
    patient, where a table says."""

    file: Path
    split: str
    name: str
    patient: str = ""


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        root: the folder.
        entries: its files, sorted.
        table: the table that lists them; None where folders are the classes.
        published: meanings of classes in tables of that kind.
    """

    root: Path
    entries: tuple[Entry, ...]
    table: Path | None
    published: Mapping[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """How many files each class has."""
        return dict(sorted(Counter(entry.name for entry in self.entries).items()))

    @property
    def meanings(self) -> dict[str, str]:
        """Of each class what it means, a key of `classes.MEANINGS`; empty where that is open."""
        given = classes.given(self.root)
        return {
            name: given.get(name) or self.published.get(name) or classes.known_meaning(name)
            for name in self.counts
        }


def recognize(folder: Path) -> Layout | None:
    """The layout of a folder; None where nothing in it says which image is normal."""
    if not folder.is_dir():
        return None
    for read in (_of_folders, _of_tables):
        found = read(folder)
        if found and _has_normal(found):
            return found
    return None


def known(folder: Path) -> Layout | None:
    """The same, remembered until the folder changes: to look single images up."""
    return _known(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _known(folder: Path, modified: int) -> Layout | None:
    return recognize(folder)


def _has_normal(layout: Layout) -> bool:
    given = classes.given(layout.root)
    return "normal" in layout.meanings.values() or not given.keys().isdisjoint(layout.counts)


def what_is_there(folder: Path) -> str:
    """A few lines on what a folder holds, for a message."""
    if not folder.is_dir():
        return ""
    lines = [
        f"  {place.relative_to(folder).as_posix()}/  {len(names)} files"
        for place, names in _walk(folder)
        if names and place != folder
    ]
    lines += [f"  {file.name}" for file in sorted(folder.iterdir()) if file.is_file()]
    shown = lines[:8] + ([f"  … and {len(lines) - 8} more"] if len(lines) > 8 else [])
    return "\n".join(shown) or "  nothing"


def _walk(folder: Path) -> list[tuple[Path, list[str]]]:
    """The folders in a folder that may hold images, and the files in each."""
    found = []
    for place, inner, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        inner[:] = sorted(
            name
            for name in inner
            if not name.startswith(".") and classes.plain(name) not in _SKIPPED
        )
        if depth >= _DEEPEST:
            inner.clear()
        found.append((Path(place), sorted(name for name in names if not name.startswith("."))))
    return found


def _of_folders(folder: Path) -> Layout | None:
    entries = []
    for place, names in _walk(folder):
        split, name = "train", ""
        for part in place.relative_to(folder).parts:
            word = classes.plain(part)
            if word in _SPLIT_OF:
                split = _SPLIT_OF[word]
            elif word not in _NO_CLASSES:
                name = part
        holds = any(not files.problem(place / one) for one in names[:_LOOKED_AT])
        if name and holds:
            entries += [Entry(place / one, split, name) for one in names]
    named: dict[str, set[str]] = {}
    for entry in entries:
        named.setdefault(entry.split, set()).add(entry.name)
    # A split of one class is half of a copy.
    whole = named and all(len(names) > 1 for names in named.values())
    return Layout(folder, tuple(entries), None, {}) if whole else None


def _of_tables(folder: Path) -> Layout | None:
    tables = sorted(folder.glob("*.csv")) + sorted(folder.glob("*/*.csv"))
    # Of RSNA's two tables that of three classes comes before that of boxes.
    for table in sorted(tables, key=lambda file: "class" not in file.name.lower()):
        if found := _of_table(folder, table):
            return found
    return None


def _of_table(folder: Path, table: Path) -> Layout | None:
    try:
        with table.open(newline="", encoding="utf-8-sig") as opened:
            rows = list(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    columns = {classes.plain(name): name for name in (rows[0] if rows else {}) if name}
    file_column = next((columns[name] for name in _FILES if name in columns), None)
    label = next((name for name in _LABELS if name in columns), None)
    if file_column is None or label is None:
        return None
    patients = next((columns[name] for name in _PATIENTS if name in columns), None)
    split_column = next((columns[name] for name in _FOLDS if name in columns), None)
    places = _places(folder)
    tested = _listed(folder / _NIH_TEST)
    found: dict[Path, Entry] = {}
    for row in rows:
        named = row[file_column] or ""
        file = places.get(named) or places.get(Path(named).name) or places.get(Path(named).stem)
        if file is None:
            continue
        word = classes.plain(row[split_column] or "") if split_column else ""
        split = "test" if file.name in tested else _SPLIT_OF.get(word, "train")
        name = _class_of(row[columns[label]] or "", nih=label == "findinglabels")
        patient = (row[patients] or "") if patients else ""
        found.setdefault(file, Entry(file, split, name, patient))
    if not found or len({entry.name for entry in found.values()}) > _MOST_CLASSES:
        return None
    entries = tuple(found[file] for file in sorted(found))
    return Layout(folder, entries, table, _PUBLISHED.get(label, {}))


def _class_of(label: str, *, nih: bool) -> str:
    """The class of a row; NIH lists all findings of an image, with bars between."""
    if not nih:
        return label.strip() or "empty"
    findings = label.split("|")
    if "Pneumonia" in findings:
        return "Pneumonia"
    return label if label == "No Finding" else _OTHER


def _places(folder: Path) -> dict[str, Path]:
    """The files below a folder by path, by name and by name without its ending."""
    found: dict[str, Path] = {}
    for place, names in _walk(folder):
        for name in names:
            file = place / name
            for key in (file.relative_to(folder).as_posix(), name, file.stem):
                found.setdefault(key, file)
    return found


def _listed(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    return set(re.split(r"\s+", file.read_text(encoding="utf-8", errors="replace")))

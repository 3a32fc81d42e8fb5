"""The files of a data set: where they are, their split, class, subtype and patient.

The Kaggle set's layout, or another that `layout` recognizes. Imports nothing that takes long.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from cxrlib.data import classes, layout
from cxrlib.labels import BINARY, PNEUMONIA

SPLITS = ("train", "val", "test")
LAYOUT = """\
chest_xray/
  train/NORMAL/*.jpeg   train/PNEUMONIA/*.jpeg
  val/NORMAL/*.jpeg     val/PNEUMONIA/*.jpeg      (optional)
  test/NORMAL/*.jpeg    test/PNEUMONIA/*.jpeg     (optional)"""

_PATIENT = re.compile(r"(?:NORMAL2-)?IM-\d+|person\d+")
_SUBTYPE = re.compile(r"person\d+_(bacteria|virus)_")
_SUBTYPES = {"bacteria": "bacterial", "virus": "viral"}


class DatasetError(ValueError):
    """The data set is missing, incomplete or laid out otherwise; says what to do."""


class UnknownClassesError(DatasetError):
    """It is not known what some classes mean.

    Attributes:
        root: the data set's folder.
        counts: images of each class.
        meanings: of each class, a key of `classes.MEANINGS`, or empty where that is open.
    """

    def __init__(self, root: Path, counts: dict[str, int], meanings: dict[str, str]) -> None:
        self.root, self.counts, self.meanings = root, counts, meanings
        unknown = [name for name, meaning in meanings.items() if not meaning]
        found = ", ".join(f"{name} ({count} files)" for name, count in counts.items())
        options = " ".join(f"--meaning '{name}=leave-out'" for name in unknown)
        super().__init__(
            f"The folder {root} has the classes {found}. Say what {' and '.join(unknown)} "
            f"{'means' if len(unknown) == 1 else 'mean'}: {', '.join(classes.MEANINGS)}. On the "
            f"command line: {options}."
        )


def find_root(folder: Path) -> Path:
    """The folder that holds a data set: ``folder`` itself, or ``chest_xray`` in it.

    Any of the official folders is enough to look at images and to measure runs; training needs
    ``train``. Other layouts are those of `layout.recognize`.

    Raises:
        DatasetError: there is no such folder; the message shows the layout, and what is there.
    """
    if root := official_root(folder):
        return root
    if layout.recognize(folder):
        return folder
    raise DatasetError(
        f"The folder {folder} {_problem(folder)}. It should look like this:\n{LAYOUT}"
        + (f"\nWhat is there:\n{there}" if (there := layout.what_is_there(folder)) else "")
    )


def official_root(folder: Path) -> Path | None:
    """Where the folders of the Kaggle set are, complete; None where they are not."""
    for candidate in (folder, folder / "chest_xray"):
        present = [split for split in SPLITS if (candidate / split).is_dir()]
        if present and not _missing(candidate, present):
            return candidate
    return None


def _missing(folder: Path, splits: list[str]) -> list[str]:
    """Class folders, spelled as in the Kaggle set, that are not there."""
    names = {(split, label): folder / split / label for split in splits for label in BINARY}
    return [
        f"{split}/{label}"
        for (split, label), place in names.items()
        # The file system may not tell cases apart.
        if not place.is_dir() or label not in {inner.name for inner in (folder / split).iterdir()}
    ]


def _problem(folder: Path) -> str:
    """What is wrong with a folder that is no data set."""
    if not folder.is_dir():
        return "does not exist"
    for candidate in (folder, folder / "chest_xray"):
        present = [split for split in SPLITS if (candidate / split).is_dir()]
        if missing := _missing(candidate, present):
            return f"is incomplete: {missing[0]} is missing"
    return "is not laid out as a data set"


@dataclass(frozen=True)
class Entry:
    """A file of a data set and what it says of itself; ``official`` in the Kaggle set's layout."""

    file: Path
    split: str
    label: str
    subtype: str
    patient: str
    official: bool = False


def meanings(folder: Path) -> dict[str, tuple[int, str]]:
    """Files and meaning of each class of a data set that is not laid out as the Kaggle set.

    Empty for one that is.

    Raises:
        DatasetError: there is no data set.
    """
    root = find_root(folder)
    found = None if official_root(root) else layout.recognize(root)
    if found is None:
        return {}
    known = found.meanings
    return {name: (count, known[name]) for name, count in found.counts.items()}


def list_entries(root: Path, *, checked: bool = True) -> list[Entry]:
    """The files of a data set.

    Args:
        root: as of `find_root`.
        checked: whether classes whose meaning is open are an error; otherwise they have no label.

    Raises:
        UnknownClassesError: there are some.
    """
    if official_root(root):
        return [
            Entry(file, split, label, subtype(file.name), patient(file.name, label), True)
            for split in SPLITS
            for label in BINARY
            for file in class_files(root, split, label)
        ]
    found = layout.recognize(root)
    if found is None:
        raise DatasetError(f"The data set in {root} is gone.")
    known = found.meanings
    if checked and not all(known.values()):
        raise UnknownClassesError(root, found.counts, known)
    kept = []
    for entry in found.entries:
        label, kind = classes.MEANINGS.get(known[entry.name], ("?", ""))
        if label:
            kept.append(
                Entry(
                    entry.file,
                    entry.split,
                    label,
                    kind or (subtype(entry.file.name) if label == PNEUMONIA else ""),
                    entry.patient or patient(entry.file.name, label),
                )
            )
    return kept


def class_files(root: Path, split: str, label: str) -> list[Path]:
    """All that lies in a class folder, whatever it is; hidden files left out."""
    return sorted(
        file for file in (root / split / label).glob("*") if not file.name.startswith(".")
    )


def patient(name: str, label: str) -> str:
    """The patient a file name of the set speaks of; else the name itself, within its class.

    >>> patient("person12_bacteria_46.jpeg", "PNEUMONIA"), patient("img_000.jpeg", "NORMAL")
    ('person12', 'NORMAL/img_000')
    """
    match = _PATIENT.match(name)
    return match[0] if match else f"{label}/{Path(name).stem}"


def subtype(name: str) -> str:
    """``bacterial``, ``viral``, or empty where the file name does not say.

    >>> subtype("person13_virus_47.jpeg")
    'viral'
    """
    match = _SUBTYPE.match(name)
    return _SUBTYPES[match[1]] if match else ""

"""Labelled images from elsewhere: another hospital's folder, or a table that names them."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cxrlib.data.dataset import DatasetError
from cxrlib.images import files
from cxrlib.labels import BINARY, NORMAL, PNEUMONIA

_FILE_COLUMNS = ("file", "path", "image")


def read(source: Sequence[str]) -> pd.DataFrame:
    """The images that a command line names.

    Args:
        source: ``[FOLDER]`` with the subfolders ``NORMAL`` and ``PNEUMONIA``; or ``[TABLE.csv,
            COLUMN, ILL, WELL]``: of a table's rows those whose ``COLUMN`` says ``ILL``
            (pneumonia) or ``WELL`` (normal), its files named in a column ``file``, ``path`` or
            ``image`` from the table's own folder on, and its patients, where known, in a column
            ``patient``.

    Returns:
        Columns ``path``, ``label`` and ``patient``, as those of `dataset.index`; ``attrs["root"]``
        is the folder that paths start from.

    Raises:
        DatasetError: there are no such images; the message says what to do.
    """
    match source:
        case [folder]:
            return _of_folder(Path(folder))
        case [file, column, positive, negative]:
            return _of_table(Path(file), column, {positive: PNEUMONIA, negative: NORMAL})
    raise DatasetError(
        "Pictures from elsewhere are named by one folder, or by four words: a CSV file, its "
        "column of labels, the label that means pneumonia, the one that means normal."
    )


def name(source: Sequence[str]) -> str:
    """What images from elsewhere are called: the folder they are in."""
    place = Path(source[0]).resolve()
    return place.name if place.is_dir() else place.parent.name


def _of_folder(root: Path) -> pd.DataFrame:
    found = {label: files.find(root / label)[0] for label in BINARY}
    for label, images in found.items():
        if not images:
            raise DatasetError(
                f"There are no images in {root / label}. Images from elsewhere lie in "
                "subfolders NORMAL and PNEUMONIA, or are listed in a CSV file."
            )
    return _table(
        root,
        [file.relative_to(root).as_posix() for images in found.values() for file in images],
        [label for label, images in found.items() for _ in images],
        # Names from elsewhere say nothing of patients.
        [file.as_posix() for images in found.values() for file in images],
    )


def _of_table(file: Path, column: str, meanings: dict[str, str]) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as a CSV table: {error}") from error
    column_of_files = next((name for name in _FILE_COLUMNS if name in rows), None)
    if column not in rows or column_of_files is None:
        raise DatasetError(
            f"{file} needs the column {column}, and one of {', '.join(_FILE_COLUMNS)} that names "
            f"the images. It has: {', '.join(rows.columns)}."
        )
    labels = rows[column].map(meanings)
    for words, label in meanings.items():
        if label not in set(labels):
            known = ", ".join(sorted(set(rows[column]) - {""})[:10])
            raise DatasetError(
                f"No row of {file} has {words} in the column {column}. It says: {known}."
            )
    rows, labels = rows[labels.notna()], labels.dropna()
    missing = [name for name in rows[column_of_files] if not (file.parent / name).is_file()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(rows)} images that {file} lists are not there, such as "
            f"{missing[0]}. File names start from the table's own folder."
        )
    patients = rows["patient"] if "patient" in rows else rows[column_of_files]
    return _table(file.parent, rows[column_of_files], labels, patients)


def _table(
    root: Path, paths: Sequence[str], labels: Sequence[str], patients: Sequence[str]
) -> pd.DataFrame:
    table = pd.DataFrame({"path": [*paths], "label": [*labels], "patient": [*patients]})
    table.attrs["root"] = str(root)
    return table

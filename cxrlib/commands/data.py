"""The data set that a command works on: found, given meanings, downloaded."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cxrlib.data import classes, dataset, entries


def folder_of(options: argparse.Namespace) -> Path:
    folder = options.data or dataset.configured_folder()
    if folder is None:
        raise dataset.DatasetError(
            "No data set was named: pass --data FOLDER or set CXR_DATA_DIR. "
            "`python -m cxrlib download` fetches it."
        )
    if options.meaning:
        _give_meanings(folder, options.meaning)
    return folder


def _give_meanings(folder: Path, given: Sequence[str]) -> None:
    """Keep what classes of a data set mean, ``CLASS=MEANING`` each."""
    meanings = dict(one.rpartition("=")[::2] for one in given)
    for name, meaning in meanings.items():
        if not name or meaning not in classes.MEANINGS:
            raise dataset.DatasetError(
                f"--meaning takes CLASS=MEANING, where the meaning is one of "
                f"{', '.join(classes.MEANINGS)}."
            )
    classes.give(folder, meanings)
    known = entries.meanings(folder)
    if unknown := [name for name in meanings if name not in known]:
        raise dataset.DatasetError(
            f"The folder {folder} has no class {unknown[0]} to give a meaning. It has: "
            f"{', '.join(known) or 'NORMAL, PNEUMONIA'}."
        )


def download(options: argparse.Namespace) -> int:
    folder = dataset.download()
    print(f"The data set is in {folder}\nSet CXR_DATA_DIR={folder} to use it everywhere.")
    return 0

"""The data set that a command works on: found, given meanings, downloaded."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cxrlib.data import classes, dataset, entries, remote


def place_of(options: argparse.Namespace) -> str:
    """The path or URL of the data set."""
    place = options.data or dataset.configured_place()
    if place is None:
        raise dataset.DatasetError(
            "No data set was named: pass --data FOLDER or set CXR_DATA_DIR. "
            "`python -m cxrlib download` fetches it."
        )
    if options.meaning:
        _give_meanings(place, options.meaning)
    return place


def folder_of(options: argparse.Namespace) -> Path:
    """The folder of the data set; of one at a URL a copy of it."""
    return remote.fetch(place_of(options))


def _give_meanings(place: str, given: Sequence[str]) -> None:
    """Keep what classes of a data set mean, ``CLASS=MEANING`` each."""
    meanings = dict(one.rpartition("=")[::2] for one in given)
    for name, meaning in meanings.items():
        if not name or meaning not in classes.MEANINGS:
            raise dataset.DatasetError(
                f"--meaning takes CLASS=MEANING, where the meaning is one of "
                f"{', '.join(classes.MEANINGS)}."
            )
    folder = remote.folder(place)
    classes.give(folder, meanings)
    if not folder.exists():
        return  # a cluster sees it, or it is at a URL
    known = entries.meanings(folder)
    if unknown := [name for name in meanings if name not in known]:
        raise dataset.DatasetError(
            f"The folder {folder} has no class {unknown[0]} to give a meaning. It has: "
            f"{', '.join(known) or 'NORMAL, PNEUMONIA'}."
        )


def download(options: argparse.Namespace) -> int:
    folder = remote.fetch(options.url) if options.url else dataset.download()
    print(f"The data set is in {folder}\nSet CXR_DATA_DIR={folder} to use it everywhere.")
    return 0

"""Radiographs to try the app with: drawn ones, those of a data set at hand, and single ones of
the Kaggle set that are fetched when asked for."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlib.data import dataset
from cxrlib.labels import BINARY, NORMAL, PNEUMONIA

# The first page of the app shows titles. What opens an image is imported when one is opened.
if TYPE_CHECKING:
    from cxrlib.images.radiograph import Radiograph

# One of a dozen among ninety that the shipped run calls likely and unlikely, and where it points at
# the opacity: it never saw a radiograph that is drawn as a whole, and often errs on them.
_SEED = 8
_SIDE = 768


@dataclass(frozen=True)
class Example:
    """A radiograph that can be opened by its title.

    Attributes:
        title: what a list of examples calls it.
        load: opens it; raises `RadiographError` or `DatasetError`.
        synthetic: whether a program drew it.
        remote: whether it is fetched from elsewhere to be opened.
        label: its reference label, ``NORMAL`` or ``PNEUMONIA``; empty where nobody knows.
        path: where it lies in the data set, as in `dataset.index`; empty elsewhere.
    """

    title: str
    load: "Callable[[], Radiograph]"
    synthetic: bool = False
    remote: bool = False
    label: str = ""
    path: str = ""


def all_examples(*, folder: Path | None = None, also: str | None = None) -> list[Example]:
    """What there is to try: drawn ones, those of a data set (classes by turns), those of Kaggle.

    Args:
        folder: the data set, where there is one.
        also: an image that somebody asked for by its path in `dataset.index`, such as
            ``train/NORMAL/IM-0115-0001.jpeg``; it comes last, under that title, from Kaggle where
            there is no data set. It is left out where the set can have no image there.

    Raises:
        DatasetError: the folder is no data set.
    """
    found = [
        Example(
            "Drawn, with an opacity",
            partial(_draw, pneumonia=True),
            synthetic=True,
            label=PNEUMONIA,
        ),
        Example("Drawn, normal", partial(_draw, pneumonia=False), synthetic=True, label=NORMAL),
    ]
    if folder is not None:
        files = dataset.examples(folder)
        by_class = [[file for file in files if file.parent.name == label] for label in BINARY]
        found += [_of_set(file) for row in zip_longest(*reversed(by_class)) for file in row if file]
    found += [
        Example(
            f"From Kaggle, {label.lower()}: {name}",
            partial(_fetch, split, label, name),
            remote=True,
            label=label,
            path=f"{split}/{label}/{name}",
        )
        for split, label, name in dataset.KAGGLE_EXAMPLES
    ]
    if also and also not in {example.title for example in found}:
        asked = _asked(also, folder)
        found += [asked] if asked else []
    return found


def _of_set(file: Path) -> Example:
    label = file.parent.name
    return Example(
        f"{label.capitalize()}: {file.name}",
        partial(_open, file),
        label=label,
        path="/".join(file.parts[-3:]),
    )


def _asked(path: str, folder: Path | None) -> Example | None:
    """The image at a path as of `dataset.index`; None where there can be none."""
    if folder is not None:
        with suppress(dataset.DatasetError):
            file = dataset.picture_file(folder, path)
            return Example(path, partial(_open, file), label=path.split("/")[1], path=path)
        return None
    parts = path.split("/")
    if len(parts) != 3 or parts[0] not in dataset.SPLITS or parts[1] not in BINARY:
        return None
    return Example(path, partial(_fetch, *parts), remote=True, label=parts[1], path=path)


def from_kaggle(name: str) -> Example:
    """The image of the Kaggle set's test folder that somebody asked for by its name.

    Whether there is one shows when it is loaded (see `dataset.download_test_picture`).
    """
    return Example(name, lambda: _read(dataset.download_test_picture(name)), remote=True)


def _draw(*, pneumonia: bool) -> "Radiograph":
    from cxrlib.images.radiograph import Radiograph
    from cxrlib.synthetic import phantom

    pixels = phantom.phantom(_SEED, pneumonia=pneumonia, size=_SIDE).pixels
    return Radiograph(pixels, "Synthetic", ())


def _open(file: Path) -> "Radiograph":
    from cxrlib.images import radiograph

    return radiograph.read_file(file)


def _fetch(split: str, label: str, name: str) -> "Radiograph":
    return _read(dataset.download_picture(split, label, name))


def _read(data: bytes) -> "Radiograph":
    from cxrlib.images import radiograph

    return radiograph.read(data)

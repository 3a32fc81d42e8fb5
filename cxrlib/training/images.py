"""The images of a run: which ones train, validate and test it, decoded, with their lungs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.data import dataset, entries
from cxrlib.data.folds import assign_folds
from cxrlib.evaluation import judge
from cxrlib.images.preprocess import Box, cached_pixels, square_side
from cxrlib.inference import lung_fields, out_of_distribution
from cxrlib.runs.config import TrainingConfig, seed_of_split
from cxrlib.runs.folder import Run
from cxrlib.training.errors import TrainingError


@dataclass(frozen=True)
class Split:
    """A data set and its folds.

    Attributes:
        table: as of `dataset.index`.
        folds: aligned with it: ``train``, ``validation``, ``test`` or ``excluded``.
        classes: ``int [n]``, indices into the configuration's ``class_names``.
    """

    table: pd.DataFrame
    folds: pd.Series
    classes: np.ndarray

    def rows(self, fold: str) -> np.ndarray:
        """Numbers of the rows in a fold."""
        return np.flatnonzero(self.folds == fold)

    @property
    def digest(self) -> str:
        """What tells these images and their folds from others."""
        key = hashlib.blake2b(digest_size=16)
        key.update("".join(self.table.digest + self.folds).encode())
        return key.hexdigest()

    @property
    def labels_digest(self) -> str:
        """What tells the images' classes from others."""
        return hashlib.blake2b(self.classes.astype(np.int64).tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Pixels:
    """Decoded images, in the order of `Split.table`.

    Attributes:
        full: whole images ``uint8 [n, side, side]``, which augmentation starts from.
        inputs: what the network sees of them without it, ``uint8 [n, size, size]``.
        boxes: which part of each image it sees; None for the whole.
        lungs: ``uint8 [n, rows, columns]``, 1 in the lungs; all 0 where they are not known.
        shapes: `out_of_distribution.shape` of each image's lungs.
    """

    full: np.ndarray
    inputs: np.ndarray
    boxes: Sequence[Box] | None
    lungs: np.ndarray
    shapes: np.ndarray


def divide(config: TrainingConfig, data: Path) -> Split:
    """Index a data set and divide it.

    Raises:
        DatasetError: the folder is not a data set.
        TrainingError: the configuration does not fit the images.
    """
    table = dataset.index(data)
    for sentence in dataset.warnings(table):
        print(sentence, flush=True)
    if found := entries.meanings(data):
        classes = (f"{name} ({count} files): {meaning}" for name, (count, meaning) in found.items())
        print(f"Classes of the data set: {', '.join(classes)}", flush=True)
    folds = assign_folds(
        table,
        validation_fraction=config.validation_fraction,
        seed=seed_of_split(config.model_dump()),
        balanced=config.balanced_validation,
    )
    split = Split(table, folds, judge.class_numbers(table, config.class_names))
    _check(config, split)
    print(_describe(split), flush=True)
    return split


def _describe(split: Split) -> str:
    """How many images of each class are for what."""
    counts = split.table.groupby([split.folds, "label"]).size().unstack(fill_value=0)
    return ", ".join(
        f"{counts.loc[fold].sum()} images {purpose} "
        f"({', '.join(f'{number} {label}' for label, number in counts.loc[fold].items())})"
        for fold, purpose in (
            ("train", "to train on"),
            ("validation", "to validate on"),
            ("test", "to test on"),
        )
        if fold in counts.index
    )


def _check(config: TrainingConfig, found: Split) -> None:
    if unknown := (found.classes < 0).sum():
        raise TrainingError(
            f"{unknown} pneumonia images do not say in their names whether it is bacterial or "
            "viral (person1_bacteria_2.jpeg): train with classes=2."
        )
    train = len(found.rows("train"))
    if train < config.batch_size:
        raise TrainingError(
            f"A batch of {config.batch_size} is larger than the {train} images to train on: "
            "choose a smaller batch."
        )


def decode(config: TrainingConfig, table: pd.DataFrame, run: Run) -> Pixels:
    """Decode all images and find their lungs; from the cache where that was done before."""
    run.write_progress("decoding images")
    side = square_side(config.size) if config.crop == "lungs" else config.size
    full = cached_pixels(table, side, config.equalization)
    run.write_progress("finding the lungs")
    found = lung_fields.shipped().find_cached(table, side)
    boxes, masks, shapes = zip(
        *((one.box, one.mask, out_of_distribution.shape(one)) for one in found), strict=True
    )
    lungs, shapes = np.stack(masks), np.stack(shapes)
    if config.crop != "lungs":
        return Pixels(full, full, None, lungs, shapes)
    inputs = cached_pixels(table, config.size, config.equalization, boxes)
    return Pixels(full, inputs, boxes, lungs, shapes)

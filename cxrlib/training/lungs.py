"""Training of the network that finds lung fields, on masks drawn by people.

An eighth of what it is shown are no frontal chest radiographs (turned over, torn to pieces,
inverted, noise, text), whose right answer is: no lungs. So its silence can be taken for an answer.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pandas as pd
from PIL import Image

from cxrlib import formatting, metrics, runs
from cxrlib.data import dataset
from cxrlib.data.dataset import DatasetError
from cxrlib.data.folds import assign_folds
from cxrlib.images import preprocess
from cxrlib.inference.lung_fields import Lungs
from cxrlib.networks import lungs
from cxrlib.networks.loading import score
from cxrlib.training.augment import PRESETS, Augmentation, augment
from cxrlib.training.environment import environment
from cxrlib.training.export import export
from cxrlib.training.prefetch import Batch, PrefetchedBatches, fit_input

_SHARE_WITHOUT = 0.125
_REFINED = 3  # epochs at the end, with gentle changes only
# Wider than any preset for classification: lungs are to be found in every framing.
_WIDE = Augmentation(
    rotation=15,
    shift=0.12,
    zoom=0.3,
    stretch=0.25,
    flip=True,
    brightness=0.15,
    contrast=0.35,
    gamma=0.9,
    blur=0.0094,
    noise=10.5,
    resolution=51,
    erase=0.08,
)


def train(
    data: Path,
    masks: Path,
    *,
    name: str,
    epochs: int,
    batch: int = 32,
    seed: int = 0,
    models: Path = runs.SHIPPED_LUNGS.parent,
) -> runs.Run:
    """Train a lung finder and measure it on patients it has not seen.

    Args:
        data: a data-set folder, as `dataset.find_root` wants it.
        masks: lung masks in the same layout, as `lung_masks` wants them.
        name: of the run.
        epochs: passes over the training images under wide changes; a few with gentle ones
            follow, which fit what the network will be shown (He et al. 2019, "Data augmentation
            revisited").
        batch: images a step.
        seed: of weights, order and augmentation; and of the validation patients, who are those
            of a classification run of that seed.
        models: where the run's folder goes.

    Returns:
        The finished run. Its ``predictions.csv`` has the Dice coefficient of each held-out
        image; ``metrics.json`` their mean, with a bootstrap interval by patient.

    Raises:
        DatasetError: the folders are not a data set and its masks.
        RunError: there is a run of that name.
    """
    table = dataset.index(data)
    folds = assign_folds(table, validation_fraction=0.15, seed=seed)
    drawn = lung_masks(table, masks, lungs.SIZE)
    has_mask = drawn.any(axis=(1, 2))
    images = preprocess.cached_pixels(table, lungs.SIZE)
    rows = np.flatnonzero((folds == "train") & has_mask)
    held_out = np.flatnonzero((folds == "validation") & has_mask)

    keras.utils.set_random_seed(seed)
    network = lungs.build()
    run = runs.create(name, models=models)
    run.save_config(json.dumps({"name": name, "epochs": epochs, "batch": batch, "seed": seed}))
    run.save_environment(environment())
    history: list[dict[str, float]] = []
    for recipe, count, rate in ((_WIDE, epochs, 2e-3), (PRESETS["light"], _REFINED, 5e-4)):
        batches = _Batches(images, drawn, rows, recipe, batch=batch, seed=seed)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 20, len(batches) * count, alpha=0.01, warmup_target=rate, warmup_steps=100
        )
        network.compile(keras.optimizers.Adam(schedule), _loss)
        for _ in range(count):
            started = time.monotonic()
            batches.start_epoch(len(history))
            loss = network.fit(fit_input(batches), shuffle=False, verbose=0).history["loss"][0]
            coefficients = _dice(network, images, drawn, held_out)
            history.append(
                {
                    "epoch": len(history) + 1,
                    "loss": loss,
                    "val_dice": float(coefficients.mean()),
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
            print(", ".join(f"{key} {value:.4g}" for key, value in history[-1].items()), flush=True)
            run.save_history(pd.DataFrame(history))
    # A copy without the optimizer is what gets served.
    served = lungs.build()
    served.set_weights(network.get_weights())
    run.save_model(served.save)
    export(run)

    predictions = table.iloc[held_out][["path", "label", "patient"]].assign(
        split="validation", dice=coefficients
    )
    measured = {
        "pictures": len(held_out),
        "patients": int(predictions.patient.nunique()),
        "dice": vars(metrics.mean(coefficients, groups=predictions.patient)),
        "left_empty": _left_empty(network, images[held_out], seed),
    }
    run.finish(predictions, {"splits": {"validation": measured}}, _card(measured, epochs, seed))
    return run


def lung_masks(table: pd.DataFrame, folder: Path, size: int) -> np.ndarray:
    """Lung fields of a data set's images.

    Args:
        table: rows of `dataset.index`.
        folder: masks laid out as the data set, ``train/NORMAL/NAME.png``, not black where the
            lungs are; an image may have none.
        size: side in pixels.

    Returns:
        ``uint8 [len(table), size, size]``, 1 in the lungs; all 0 for an image without a mask.

    Raises:
        DatasetError: the folder has no mask for any of the images.
    """
    masks = np.zeros((len(table), size, size), np.uint8)
    for row, path in enumerate(table.path):
        file = (folder / path).with_suffix(".png")
        if file.exists():
            with Image.open(file) as mask:
                small = mask.convert("L").resize((size, size), Image.Resampling.NEAREST)
                masks[row] = np.asarray(small)
    if not masks.any():
        raise DatasetError(
            f"The folder {folder} has no lung mask for any image. It should hold "
            "train/NORMAL/NAME.png for train/NORMAL/NAME.jpeg."
        )
    return np.minimum(masks, 1)


class _Batches(PrefetchedBatches):
    """Augmented images with their masks, and some that show no lungs, with empty ones."""

    def __init__(
        self,
        images: np.ndarray,
        drawn: np.ndarray,
        rows: np.ndarray,
        recipe: Augmentation,
        *,
        batch: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._images, self._drawn, self._rows = images, drawn, rows
        self._batch, self._seed = batch, seed
        self._recipe = recipe
        self._geometry = replace(
            recipe, brightness=0, contrast=0, gamma=0, blur=0, noise=0, resolution=0, erase=0
        )
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Take the order and the changes that belong to ``epoch``."""
        self.forget()
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._rows) // self._batch

    def make(self, number: int) -> Batch:
        """Batch ``number`` of the epoch."""
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._rows)
        rng = np.random.default_rng([self._seed, self._epoch, number])
        inputs, targets = [], []
        for row in order[number * self._batch : (number + 1) * self._batch]:
            image, mask = self._images[row], self._drawn[row]
            # The same draws move image and mask alike.
            state = int(rng.integers(2**32))
            inputs.append(augment(image, self._recipe, np.random.default_rng(state)))
            moved = augment(mask * 255, self._geometry, np.random.default_rng(state))
            if rng.random() < _SHARE_WITHOUT:
                inputs[-1], moved = without_lungs(inputs[-1], rng), np.zeros_like(mask)
            targets.append(moved)
        return np.stack(inputs)[..., None], (np.stack(targets)[..., None] / 255).astype(np.float32)


def without_lungs(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image that is no upright frontal chest radiograph, mostly made from one that is.

    Args:
        image: ``uint8 [side, side]``.
        rng: source of chance.

    Returns:
        ``uint8 [side, side]``: upside-down, on its side, inverted, its pieces shuffled, noise, a
        gradient, or something like a page or screen.
    """
    side = len(image)
    kind = rng.integers(7)
    if kind == 0:
        return np.flipud(image)
    if kind == 1:
        return np.rot90(image, rng.choice([1, 3]))
    if kind == 2:
        return 255 - image
    if kind == 3:
        pieces = int(rng.choice([2, 4, 8]))
        step = side // pieces
        tiles = [
            image[row : row + step, column : column + step]
            for row in range(0, pieces * step, step)
            for column in range(0, pieces * step, step)
        ]
        order = rng.permutation(len(tiles)).reshape(pieces, pieces)
        shuffled = np.block([[tiles[number] for number in row] for row in order])
        return cv2.resize(shuffled, (side, side))
    if kind == 4:
        grain = int(rng.choice([2, 4, 8, 16, 32, 64]))
        noise = rng.integers(0, 256, (grain, grain)).astype(np.uint8)
        return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    if kind == 5:
        x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
        slope = rng.normal(size=3)
        return np.clip(128 + 100 * (slope[0] * x + slope[1] * y + slope[2]), 0, 255).astype(
            np.uint8
        )
    page = np.full((side, side), rng.choice([20, 240]), np.uint8)
    for _ in range(int(rng.integers(5, 40))):
        left, top = (int(value) for value in rng.integers(0, side, 2))
        width, height = int(rng.integers(4, side // 2)), int(rng.integers(1, side // 6))
        page[top : top + height, left : left + width] = rng.integers(256)
    return page


def _loss(drawn: Any, predicted: Any) -> Any:
    """Cross-entropy and one minus the Dice coefficient of the whole batch."""
    entropy = keras.ops.mean(keras.losses.binary_crossentropy(drawn, predicted))
    overlap = 2 * keras.ops.sum(drawn * predicted)
    return entropy + 1 - overlap / (keras.ops.sum(drawn) + keras.ops.sum(predicted) + 1)


def _find(network: keras.Model, images: np.ndarray) -> list[Lungs]:
    return [Lungs(found[..., 0]) for found in score(network, images, np.arange(len(images)))]


def _dice(
    network: keras.Model, images: np.ndarray, drawn: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Dice coefficient of each image (Dice 1945), with the mask as it is used."""
    found = np.stack([one.mask for one in _find(network, images[rows])])
    drawn = drawn[rows]
    overlap = (found & drawn).sum(axis=(1, 2), dtype=np.int64)
    sizes = found.sum(axis=(1, 2), dtype=np.int64) + drawn.sum(axis=(1, 2), dtype=np.int64)
    return 2 * overlap / sizes


def _left_empty(network: keras.Model, images: np.ndarray, seed: int) -> dict[str, float]:
    """Share of images made by `without_lungs` in which no lungs are found."""
    rng = np.random.default_rng([seed, 1])
    made = np.stack([without_lungs(image, rng) for image in images])
    empty = [not one.found for one in _find(network, made)]
    return vars(metrics.wilson(sum(empty), len(empty)))


def _card(measured: dict[str, Any], epochs: int, seed: int) -> str:
    dice, empty = (metrics.Estimate(**measured[key]) for key in ("dice", "left_empty"))
    return f"""\
# Lung fields

A small U-Net (Ronneberger et al., MICCAI 2015) that marks the lung fields of a frontal chest
radiograph on a grid of {lungs.SIZE} × {lungs.SIZE}. For education and research.

Trained for {epochs} epochs under wide changes of geometry and exposure, then {_REFINED}
under gentle ones (seed {seed}) on the train and val folders of the Kaggle set
`paultimothymooney/chest-xray-pneumonia` (Kermany et al. 2018, CC BY 4.0) with masks drawn by
people (V7 Labs, covid-19-xray-dataset, CC BY 4.0); a lung's mask includes what lies behind the
heart. Every eighth image shown was made to be no upright frontal radiograph; its right answer
is an empty mask.

On {measured["pictures"]} images of {measured["patients"]} children who were held out:

| what | value (95 % interval) |
|---|---|
| Dice coefficient, mean over images | {dice} |
| share left empty of as many images made to show no lungs | {formatting.rate(empty)} |

On other hospitals' images and on adults the masks were looked at, not measured: there are none
to compare with.
"""

"""Lung fields: where on a picture the lungs are, and whether there are any.

A small U-Net (Ronneberger et al., MICCAI 2015), a run under ``models/lungs`` made by
``python -m cxrlib train-lungs``, marks them on the squashed picture. Their contour is drawn on
the pages, their box is what the ``lungs`` view reads, and how much of a heatmap lies inside
says how far to believe it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
from keras import layers

from cxrlib import runs
from cxrlib.images.preprocess import (
    WHOLE,
    Box,
    cache_folder,
    cached_array,
    cached_pixels,
    new_array,
    prepare,
)
from cxrlib.networks.loading import folded, load_network

SIZE = 128
_WIDTHS = (16, 32, 64, 96)
_BATCH = 64
_SMALLEST = 0.015  # share of the picture; a smaller patch is no lung
# What is left around the lungs in the box, as a share of its side: their borders, the diaphragm.
_MARGIN = 0.06
# The few outermost rows and columns of a mask are its least certain.
_TRIMMED = 0.004


@dataclass(frozen=True)
class Lungs:
    """Lung fields of one picture.

    Attributes:
        probability: ``float32 [SIZE, SIZE]`` in 0..1 on the squashed picture.
    """

    probability: np.ndarray

    @cached_property
    def mask(self) -> np.ndarray:
        """``uint8 [SIZE, SIZE]``, 1 in the two largest patches that are large enough."""
        drawn = (self.probability > 0.5).astype(np.uint8)
        count, numbers, facts, _ = cv2.connectedComponentsWithStats(drawn)
        areas = facts[:, cv2.CC_STAT_AREA]
        kept = np.zeros(count, np.uint8)
        for number in np.argsort(areas[1:])[-2:] + 1:
            kept[number] = areas[number] >= _SMALLEST * drawn.size
        return kept[numbers]

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return bool(self.mask.any())

    @cached_property
    def box(self) -> Box:
        """Left, top, right, bottom of the lungs with a margin, as shares of the picture's sides.

        The whole picture where no lungs were found.
        """
        if not self.found:
            return WHOLE
        ends = []
        for axis in (0, 1):
            profile = np.cumsum(self.mask.sum(axis=axis, dtype=np.int64))
            near = np.searchsorted(profile, _TRIMMED * profile[-1])
            far = np.searchsorted(profile, (1 - _TRIMMED) * profile[-1]) + 1
            margin = _MARGIN * (far - near)
            ends.append((max((near - margin) / SIZE, 0.0), min((far + margin) / SIZE, 1.0)))
        (left, right), (top, bottom) = ends
        return float(left), float(top), float(right), float(bottom)

    def share(self, heatmap: np.ndarray) -> float:
        """How much of a heatmap ``[rows, columns]`` of the whole picture lies in the lungs, 0..1.

        NaN for a heatmap that is zero everywhere.
        """
        total = float(heatmap.sum())
        inside = cv2.resize(self.mask, heatmap.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return float(heatmap[inside > 0].sum()) / total if total > 0 else float("nan")

    def share_by_chance(self, box: Box) -> float:
        """As `share`, of a heatmap that is the same everywhere in a part of the picture."""
        left, top, right, bottom = np.rint(np.array(box) * SIZE).astype(int)
        return float(self.mask[top:bottom, left:right].mean())

    def contours(self, shape: tuple[int, int]) -> list[np.ndarray]:
        """The borders of the lungs as points ``int32 [n, 2]`` (x, y) on a grid of that shape."""
        smooth = cv2.resize(
            self.probability * cv2.dilate(self.mask, np.ones((3, 3), np.uint8)),
            shape[::-1],
            interpolation=cv2.INTER_CUBIC,
        )
        drawn = (smooth > 0.5).astype(np.uint8)
        found, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        smallest = _SMALLEST / 2 * drawn.size
        return [contour[:, 0] for contour in found if cv2.contourArea(contour) > smallest]


class LungFinder:
    """Finds lung fields with the network of a lung run.

    Raises:
        RunError: the run's files are missing, damaged, or not of this version of Keras.
    """

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        self.network = folded(load_network(run))

    def find(self, pixels: np.ndarray) -> Lungs:
        """The lung fields of one radiograph ``uint8 [height, width]``."""
        return next(self.find_all([pixels]))

    def find_all(self, pictures: Sequence[np.ndarray]) -> Iterator[Lungs]:
        """The lung fields of radiographs ``uint8 [height, width]``, a batch at a time."""
        return find(self.network, pictures)

    def find_cached(self, table: pd.DataFrame, side: int) -> Iterator[Lungs]:
        """The lung fields of an index's pictures, from a cache made on first use.

        Args:
            table: rows of `dataset.index`.
            side: of the squashed pictures that they are found in.
        """
        key = hashlib.blake2b(self.run.model_file.read_bytes(), digest_size=12)
        key.update(f"{side} {''.join(table.digest)}".encode())

        def write(file: Path) -> None:
            kept = new_array(file, (len(table), SIZE, SIZE), np.float16)
            for row, found in enumerate(self.find_all(cached_pixels(table, side))):
                kept[row] = found.probability
            kept.flush()

        # What was kept is read in the first place too: rounding must not move a box later.
        for probability in cached_array(cache_folder() / f"lungs-{key.hexdigest()}.npy", write):
            yield Lungs(probability.astype(np.float32))


def find(network: keras.Model, pictures: Sequence[np.ndarray]) -> Iterator[Lungs]:
    """As `LungFinder.find_all`, by a network of `build`."""
    for start in range(0, len(pictures), _BATCH):
        squares = np.stack([prepare(one, SIZE) for one in pictures[start : start + _BATCH]])
        for probability in network.predict_on_batch(squares[..., None])[..., 0]:
            yield Lungs(probability)


def shipped() -> LungFinder:
    """The lung finder that comes with the project."""
    return LungFinder(runs.Run(runs.SHIPPED_LUNGS))


def build() -> keras.Model:
    """A U-Net ready to train: ``[n, SIZE, SIZE, 1]`` in 0..255 to probabilities of lung."""
    pixels = keras.Input((SIZE, SIZE, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels)
    # Lungs are large and smooth: at half the side most of the time is saved and little lost.
    x = _convolve(x, _WIDTHS[0], "stem", strides=2)
    across = []
    for level, width in enumerate(_WIDTHS):
        if level:
            across.append(x)
            x = layers.MaxPooling2D(name=f"down{level}")(x)
            x = _convolve(x, width, f"encoder{level}_1")
        x = _convolve(x, width, f"encoder{level}_2")
    for level in reversed(range(len(_WIDTHS) - 1)):
        x = layers.UpSampling2D(interpolation="bilinear", name=f"up{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([x, across[level]])
        x = _convolve(x, _WIDTHS[level], f"decoder{level}")
    x = layers.Conv2D(1, 1, dtype="float32", name="logit")(x)
    x = layers.UpSampling2D(interpolation="bilinear", dtype="float32", name="full_size")(x)
    lung = layers.Activation("sigmoid", dtype="float32", name="lung")(x)
    return keras.Model(pixels, lung, name="unet")


def _convolve(
    x: keras.KerasTensor, width: int, name: str, *, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_normalization")(x)
    return layers.ReLU(name=f"{name}_relu")(x)

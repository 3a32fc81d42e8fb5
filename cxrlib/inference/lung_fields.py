"""Lung fields: where on an image the lungs are, and whether there are any.

The network of a run under ``models/lungs``, made by ``python -m cxrlib train-lungs``, marks them on
the squashed image. Their contour is drawn on the pages, their box is what the ``lungs`` view
reads, and how much of a heatmap lies inside says how far to believe it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

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
from cxrlib.inference import session

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 64
_SMALLEST = 0.015  # share of the image; a smaller patch is no lung
# What is left around the lungs in the box, as a share of its side: their borders, the diaphragm.
_MARGIN = 0.06
# The few outermost rows and columns of a mask are its least certain.
_TRIMMED = 0.004


@dataclass(frozen=True)
class Lungs:
    """Lung fields of one image.

    Attributes:
        probability: ``float32 [side, side]`` in 0..1 on the squashed image.
    """

    probability: np.ndarray

    @cached_property
    def mask(self) -> np.ndarray:
        """``uint8 [side, side]``, 1 in the two largest patches that are large enough."""
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
        """Left, top, right, bottom of the lungs with a margin, as shares of the image's sides.

        The whole image where no lungs were found.
        """
        if not self.found:
            return WHOLE
        ends, side = [], len(self.mask)
        for axis in (0, 1):
            profile = np.cumsum(self.mask.sum(axis=axis, dtype=np.int64))
            near = np.searchsorted(profile, _TRIMMED * profile[-1])
            far = np.searchsorted(profile, (1 - _TRIMMED) * profile[-1]) + 1
            margin = _MARGIN * (far - near)
            ends.append((max((near - margin) / side, 0.0), min((far + margin) / side, 1.0)))
        (left, right), (top, bottom) = ends
        return float(left), float(top), float(right), float(bottom)

    def share(self, heatmap: np.ndarray) -> float:
        """How much of a heatmap ``[rows, columns]`` of the whole image lies in the lungs, 0..1.

        NaN for a heatmap that is zero everywhere.
        """
        total = float(heatmap.sum())
        inside = cv2.resize(self.mask, heatmap.shape[::-1], interpolation=cv2.INTER_NEAREST)
        return float(heatmap[inside > 0].sum()) / total if total > 0 else float("nan")

    def share_by_chance(self, box: Box) -> float:
        """As `share`, of a heatmap that is the same everywhere in a part of the image."""
        left, top, right, bottom = np.rint(np.array(box) * len(self.mask)).astype(int)
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
        RunError: the network's file is missing or damaged.
    """

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        self._session = session.load(run, session.LUNG_OUTPUTS)

    def find(self, pixels: np.ndarray) -> Lungs:
        """The lung fields of one radiograph ``uint8 [height, width]``."""
        return next(self.find_all([pixels]))

    def find_all(self, images: Sequence[np.ndarray] | np.ndarray) -> Iterator[Lungs]:
        """The lung fields of radiographs ``uint8 [height, width]``, a batch at a time."""
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            squares = np.stack([prepare(one, self._session.size) for one in batch])
            (found,) = self._session.run(squares, ["lung"])
            yield from map(Lungs, found)

    def find_cached(self, table: "pd.DataFrame", side: int) -> Iterator[Lungs]:
        """The lung fields of an index's images, from a cache made on first use.

        Args:
            table: rows of `dataset.index`.
            side: of the squashed images that they are found in.
        """
        key = hashlib.blake2b(self.run.onnx_file.read_bytes(), digest_size=12)
        key.update(f"{side} {''.join(table.digest)}".encode())

        def write(file: Path) -> None:
            shape = (len(table), self._session.size, self._session.size)
            kept = new_array(file, shape, np.float16)
            for row, found in enumerate(self.find_all(cached_pixels(table, side))):
                kept[row] = found.probability
            kept.flush()

        # What was kept is read in the first place too: rounding must not move a box later.
        for probability in cached_array(cache_folder() / f"lungs-{key.hexdigest()}.npy", write):
            yield Lungs(probability.astype(np.float32))


@cache
def shipped() -> LungFinder:
    """The lung finder that comes with the project: one for all networks that read."""
    return LungFinder(runs.Run(runs.SHIPPED_LUNGS))

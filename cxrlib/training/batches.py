"""Cached pixels → shuffled, augmented training batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cxrlib.images.preprocess import WHOLE, Box, frame
from cxrlib.images.style import Style, style_of
from cxrlib.synthetic.opacities import draw_opacities
from cxrlib.training.augment import (
    PRESETS,
    Augmentation,
    Geometry,
    change_appearance,
    random_geometry,
    repaint_surroundings,
)
from cxrlib.training.prefetch import Batch, PrefetchedBatches

# How often an image is offered the style of one of the other class. Synthetic opacities, in
# images of the one and labelled as the other, get that of either.
_OTHER_CLASS, _OTHER_CLASS_DRAWN = 0.75, 0.5
_OUTSIDE_WEIGHT = 1.0  # of a place outside the lungs of a pneumonia, which is no evidence
_OUTSIDE = 0.05  # a cell has so little of the lungs at most
_AROUND_LUNGS = 0.06  # of the image's side: so far beyond them evidence may still lie


@dataclass(frozen=True)
class Samples:
    """What an epoch is made of; all but ``pixels`` are aligned with each other.

    Attributes:
        pixels: images ``uint8 [n, side, side]``, or a frozen backbone's features
            ``float32 [n, features]``, which go through as they are.
        rows: which of them, ``int [m]``; one may be listed several times (oversampling).
        targets: ``float32 [m, outputs]``.
        weights: of each in the loss, ``float32 [m]``.
        synthetic: ``bool [m]``, into which opacities are drawn; by default none.
    """

    pixels: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    synthetic: np.ndarray | None = None


@dataclass(frozen=True)
class Framing:
    """What the network sees of the images, each in the order of `Samples.pixels`.

    Attributes:
        boxes: the parts of the images that it sees; by default all.
        size: side of the squares that they become; by default as large as the images.
        lungs: masks ``uint8 [n, rows, columns]``, for what has to know where the lungs are.
    """

    boxes: Sequence[Box] | None = None
    size: int | None = None
    lungs: np.ndarray | None = None


@dataclass(frozen=True)
class Variation:
    """How the images of an epoch are changed.

    Attributes:
        recipe: of augmentation.
        randomize_background: paint over what is around the lungs.
        synthetic_once: draw the same opacities in every epoch, not others.
        variants: of each image, each changed in its own way, one after the other.
        evidence_grid: also tell what is known of each cell of such a grid over what the network
            sees: of normal images that nothing is there, of drawn opacities where they are, and
            of pneumonias that outside the lungs nothing is.
    """

    recipe: Augmentation = PRESETS["none"]
    randomize_background: bool = False
    synthetic_once: bool = False
    variants: int = 1
    evidence_grid: tuple[int, int] | None = None


class Batches(PrefetchedBatches):
    """One epoch after another of shuffled, augmented training batches.

    What an image gets depends on seed, epoch and its place in the epoch alone, not on the
    order in which threads happen to work, so that a resumed run sees what it would have seen.

    A batch is ``(uint8 [batch, size, size, 1], targets [batch, outputs], weights [batch])``; where
    evidence is asked for, targets and weights are dictionaries: of ``probability`` those, of
    ``evidence`` ``[batch, rows, columns, 1]`` and ``[batch, rows, columns]``.
    """

    def __init__(
        self,
        samples: Samples,
        framing: Framing | None = None,
        variation: Variation | None = None,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """Batches of ``batch_size`` images, a multiple of the variants of each.

        The last, incomplete batch of an epoch is left out: its batch-normalization statistics
        would be noisy.
        """
        super().__init__()
        framing, variation = framing or Framing(), variation or Variation()
        self._pixels, self._rows = samples.pixels, samples.rows
        self.targets, self._weights = samples.targets, samples.weights
        none = np.zeros(len(self._rows), bool)
        self._synthetic = none if samples.synthetic is None else samples.synthetic
        self._batch_size, self._seed = batch_size, seed
        self._boxes, self._size = framing.boxes, framing.size
        self._lungs = np.empty((0, 0, 0), np.uint8) if framing.lungs is None else framing.lungs
        self._variation, self._recipe = variation, variation.recipe
        # Of three classes the last two are pneumonia, of two the one output is.
        three = self.targets.shape[1] > 1
        self._positive = self.targets[:, 0] < 0.5 if three else self.targets[:, 0] >= 0.5
        self._by_class = [self._rows[~self._positive], self._rows[self._positive]]
        self._styles: dict[int, Style] = {}
        self.start_epoch(0)

    def start_epoch(self, epoch: int, *, step: int = 0) -> None:
        """Shuffle again, in the order that belongs to ``epoch``, and begin at batch ``step``."""
        self.forget()
        self._epoch, self._first = epoch, step
        self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))

    @property
    def steps(self) -> int:
        """Batches in a whole epoch."""
        return len(self._rows) * self._variation.variants // self._batch_size

    def __len__(self) -> int:
        return self.steps - self._first

    def make(self, number: int) -> Batch:
        """Batch ``number`` of what is left of the epoch."""
        number += self._first
        variants = self._variation.variants
        images = self._batch_size // variants
        chosen = self._order[number * images : (number + 1) * images].repeat(variants)
        targets, weights = self.targets[chosen], self._weights[chosen]
        if self._pixels.ndim == 2:
            return self._pixels[self._rows[chosen]], targets, weights
        rng = np.random.default_rng([self._seed, self._epoch, number])
        samples, evidence, known = zip(
            *(self._sample(place, rng) for place in chosen.tolist()), strict=True
        )
        inputs = np.stack(samples)[..., None]
        if self._variation.evidence_grid is None:
            return inputs, targets, weights
        return (
            inputs,
            {"probability": targets, "evidence": np.stack(evidence)[..., None]},
            {"probability": weights, "evidence": np.stack(known)},
        )

    def unchanged(self) -> Iterator[np.ndarray]:
        """All images in the order of ``rows``, as they are when they are read.

        With the opacities that are drawn into them once. A batch ``uint8 [n, size, size, 1]`` at a
        time.
        """
        for start in range(0, len(self._rows), self._batch_size):
            images = []
            for place in range(start, min(start + self._batch_size, len(self._rows))):
                pixels, _ = self._with_opacities(place, self._of_place(place))
                if self._boxes is not None:
                    pixels = frame(
                        pixels, self._boxes[self._rows[place]], self._size or len(pixels)
                    )
                images.append(pixels)
            yield np.stack(images)[..., None]

    def _of_place(self, place: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, place])

    def _with_opacities(
        self, place: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """An image, and where opacities were drawn into it, ``uint8`` alike; or None."""
        row = self._rows[place]
        pixels: np.ndarray = self._pixels[row]
        if not self._synthetic[place]:
            return pixels, None
        pixels, opacity = draw_opacities(pixels, self._lungs[row], rng)
        return pixels, opacity.astype(np.uint8)

    def _sample(
        self, place: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """An image, and where a grid is asked for, its cells' targets and their weights."""
        row = self._rows[place]
        pixels, opacity = self._with_opacities(
            place, self._of_place(place) if self._variation.synthetic_once else rng
        )
        if self._variation.randomize_background:
            other = self._pixels[self._rows[rng.integers(len(self._rows))]]
            pixels = repaint_surroundings(pixels, self._lungs[row], other, rng)
        box = WHOLE if self._boxes is None else self._boxes[row]
        geometry = random_geometry(self._recipe, rng)
        if self._recipe == PRESETS["none"]:
            if self._boxes is not None:
                pixels = frame(pixels, box, self._size or len(pixels))
        else:
            style = self._other_style(place, rng) if self._recipe.style else None
            moved = geometry.move(pixels, box, self._size)
            pixels = change_appearance(moved, self._recipe, rng, style)
        if self._variation.evidence_grid is None:
            return pixels, None, None
        return pixels, *self._evidence(self._variation.evidence_grid, place, opacity, geometry, box)

    def _other_style(self, place: int, rng: np.random.Generator) -> Style:
        """The style of another image, mostly of the other class."""
        share = _OTHER_CLASS_DRAWN if self._synthetic[place] else _OTHER_CLASS
        other = bool(self._positive[place]) ^ (rng.random() < share)
        row = int(rng.choice(self._by_class[other]))
        if row not in self._styles:
            pixels = self._pixels[row]
            if self._size:
                pixels = frame(
                    pixels, WHOLE if self._boxes is None else self._boxes[row], self._size
                )
            self._styles[row] = style_of(pixels)
        return self._styles[row]

    def _evidence(
        self,
        grid: tuple[int, int],
        place: int,
        opacity: np.ndarray | None,
        geometry: Geometry,
        box: Box,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is known of an image's cells: targets 0..1, and how much each counts."""
        unknown = self._positive[place] and opacity is None
        seen = self._lungs[self._rows[place]] if unknown else opacity
        if seen is None or not seen.any():  # a pneumonia whose lungs were not found counts nowhere
            none = np.zeros(grid, np.float32)
            return none, none if unknown else np.ones(grid, np.float32)
        if unknown:
            seen = _surrounded(seen)
        moved = geometry.move_mask(seen, box, self._size or len(self._pixels[0]))
        share = cv2.resize(moved.astype(np.float32), grid[::-1], interpolation=cv2.INTER_AREA)
        if unknown:
            outside = (share < _OUTSIDE).astype(np.float32)
            return np.zeros(grid, np.float32), _OUTSIDE_WEIGHT * outside
        return share, np.ones(grid, np.float32)


def _surrounded(lungs: np.ndarray) -> np.ndarray:
    """A mask of lungs with what pneumonia hides of them: the convex hull of each, and a margin."""
    filled = np.zeros_like(lungs)
    contours, _ = cv2.findContours(lungs, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        cv2.fillConvexPoly(filled, cv2.convexHull(contour), 1)
    side = int(_AROUND_LUNGS * len(lungs)) | 1
    return cv2.dilate(filled, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))

"""Cached pixels → shuffled, augmented training batches."""

import os
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from cxrlib.images.preprocess import Box, frame
from cxrlib.synthetic.opacities import draw_opacities
from cxrlib.training.augment import PRESETS, Augmentation, augment, repaint_surroundings


class Batches(keras.utils.PyDataset):
    """One epoch after another of shuffled, augmented training batches.

    What a picture gets depends on seed, epoch and its place in the epoch alone, not on the
    order in which threads happen to work, so that a resumed run sees what it would have seen.

    A batch is ``(uint8 [batch, size, size, 1], targets [batch, outputs], weights [batch])``.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        recipe: Augmentation = PRESETS["none"],
        boxes: Sequence[Box] | None = None,
        size: int | None = None,
        lungs: np.ndarray | None = None,
        randomize_background: bool = False,
        drawn: np.ndarray | None = None,
        drawn_once: bool = False,
        variants: int = 1,
    ) -> None:
        """Batches over ``pixels[rows]``; ``targets`` and ``weights`` are aligned with ``rows``.

        ``pixels`` are pictures ``uint8 [n, size, size]``, or a frozen backbone's features
        ``float32 [n, features]``, which go through as they are. ``boxes`` are the parts of the
        pictures that the network sees, as squares of side ``size``; by default all.
        ``lungs`` are masks ``uint8 [n, rows, columns]``, for what has to know where the lungs are:
        ``randomize_background`` paints over what is around them, and where ``drawn``, ``bool``
        aligned with ``rows``, is true, opacities are drawn into them: others in every epoch, or
        with ``drawn_once`` the same.
        Of each picture a batch has ``variants``, each changed in its own way, one after the other;
        ``batch_size`` is a multiple of that.
        A row may be listed several times (oversampling). The last, incomplete batch of an epoch
        is left out: its batch-normalization statistics would be noisy.
        """
        workers = os.cpu_count() or 1
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=2 * workers)
        self._pixels, self._rows = pixels, rows
        self.targets, self._weights = targets, weights
        self._batch_size, self._recipe, self._seed = batch_size, recipe, seed
        self._boxes, self._size, self._variants = boxes, size, variants
        self._lungs, self._randomize_background = lungs, randomize_background
        self._drawn = np.zeros(len(rows), bool) if drawn is None else drawn
        self._drawn_once = drawn_once
        self.start_epoch(0)

    def start_epoch(self, epoch: int, *, step: int = 0) -> None:
        """Shuffle anew, in the order that belongs to ``epoch``, and begin at batch ``step``."""
        self._epoch, self._first = epoch, step
        self._order = np.random.default_rng([self._seed, epoch]).permutation(len(self._rows))

    @property
    def steps(self) -> int:
        """Batches in a whole epoch."""
        return len(self._rows) * self._variants // self._batch_size

    def __len__(self) -> int:
        return self.steps - self._first

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number += self._first
        pictures = self._batch_size // self._variants
        chosen = self._order[number * pictures : (number + 1) * pictures].repeat(self._variants)
        if self._pixels.ndim == 2:
            inputs = self._pixels[self._rows[chosen]]
        else:
            rng = np.random.default_rng([self._seed, self._epoch, number])
            inputs = np.stack([self._picture(place, rng) for place in chosen])[..., None]
        return inputs, self.targets[chosen], self._weights[chosen]

    def unchanged(self) -> Iterator[np.ndarray]:
        """All pictures in the order of ``rows``, as they are when they are read.

        With the opacities that are drawn into them once. A batch ``uint8 [n, size, size, 1]`` at a
        time.
        """
        for start in range(0, len(self._rows), self._batch_size):
            pictures = []
            for place in range(start, min(start + self._batch_size, len(self._rows))):
                pixels = self._with_opacities(place, self._of_place(place))
                if self._boxes is not None:
                    pixels = frame(pixels, self._boxes[self._rows[place]], self._size)
                pictures.append(pixels)
            yield np.stack(pictures)[..., None]

    def _of_place(self, place: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, place])

    def _with_opacities(self, place: int, rng: np.random.Generator) -> np.ndarray:
        row = self._rows[place]
        pixels: np.ndarray = self._pixels[row]
        if self._drawn[place]:
            pixels, _ = draw_opacities(pixels, self._lungs[row], rng)
        return pixels

    def _picture(self, place: int, rng: np.random.Generator) -> np.ndarray:
        row = self._rows[place]
        pixels = self._with_opacities(place, self._of_place(place) if self._drawn_once else rng)
        if self._randomize_background:
            other = self._pixels[self._rows[rng.integers(len(self._rows))]]
            pixels = repaint_surroundings(pixels, self._lungs[row], other, rng)
        if self._boxes is None:
            return augment(pixels, self._recipe, rng)
        return augment(pixels, self._recipe, rng, self._boxes[row], self._size)

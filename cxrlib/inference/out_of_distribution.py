"""Whether an image is like those a run was trained on, or should not be read at all.

Three questions in turn: are there lungs, do they look like the lungs of a frontal radiograph, and
are the network's features like those of its training images? The last two are Mahalanobis
distances (Lee et al., NeurIPS 2018), with what lies outside the largest principal components
counted apart (Wang et al., CVPR 2022), so that no covariance has to be guessed from few images.
NumPy only: fitted when a run is trained, kept with it.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from cxrlib.inference.lung_fields import Lungs
from cxrlib.runs.folder import Run, RunError

# The limit is so many times the distance that all but a few held-out radiographs keep within.
# Adults, and other hospitals' radiographs, lie farther off than children of the same hospital;
# other images much farther (`benchmarks/refusal.py` measures both).
_FARTHEST = 0.9875
_ELSEWHERE = 4
# Lungs found in fewer radiographs than this say nothing: the run reads something else (phantoms).
_LUNGS_EXPECTED = 0.97
_COMPONENTS = 64
_SHAPE = 15  # numbers that `shape` gives
_LARGEST = 2**25  # bytes, unpacked; 2048 features take 0.5 MB
# Some features are silent in nearly all training images. Counted in steps of their own tiny
# spread, the first grain of noise that wakes one would be thousands of steps away.
_LEAST_STEP = 0.05  # of the median spread of those that are ever awake
_ENDS = (0.02, 0.98)

NO_LUNGS = (
    "No lung fields were found. The image may not be a chest radiograph, or it may be on its side, "
    "upside down or inverted: turn it, or choose a frontal radiograph. If it is a screenshot or "
    "has a wide border, crop it to the radiograph."
)
ODD_LUNGS = (
    "The lung fields have an unusual shape or position. The image may be a lateral view, a "
    "close-up, or another body part: choose a frontal radiograph that shows both lungs completely. "
    "If it is a screenshot or has a wide border, crop it to the radiograph."
)
UNLIKE = (
    "The image looks unlike the radiographs that the network was trained on. It may not be a "
    "frontal chest radiograph, or it was taken or stored in an unusual way. If it is a screenshot "
    "or has a wide border, crop it to the radiograph."
)


@dataclass(frozen=True)
class MahalanobisModel:
    """Where the vectors of familiar images lie.

    Attributes:
        mean: ``[k]``, with ``scale`` ``[k]`` the size of a step in each number.
        scale: see ``mean``.
        axes: ``[k, m]``, the largest principal components.
        spread: ``[m]``, the standard deviation along each.
        rest: root mean square of what lies outside the components; 0 where nothing does.
        limit: the largest distance that is still familiar.
    """

    mean: np.ndarray
    scale: np.ndarray
    axes: np.ndarray
    spread: np.ndarray
    rest: np.ndarray
    limit: np.ndarray

    def distance(self, vectors: np.ndarray) -> np.ndarray:
        """How far ``[n, k]`` lie from the familiar, ``[n]``; about 1 on average over those."""
        steps = (vectors - self.mean) / self.scale
        along = steps @ self.axes
        squares = ((along / self.spread) ** 2).mean(axis=1)
        if self.rest > 0:
            outside = ((steps - along @ self.axes.T) ** 2).sum(axis=1)
            squares = (squares + outside / self.rest**2) / 2
        return np.sqrt(squares)


def _fit(vectors: np.ndarray, held_out: np.ndarray, least: float = 0) -> MahalanobisModel:
    """``least``: the smallest step, as a share of the median one that is not zero."""
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    awake = scale[scale > 0]
    if awake.size:
        scale = np.maximum(scale, least * np.median(awake))
    scale = scale + 1e-6
    steps = (vectors - mean) / scale
    variances, axes = np.linalg.eigh(np.cov(steps, rowvar=False))
    kept = slice(None, -_COMPONENTS - 1, -1)
    axes, spread = axes[:, kept], np.sqrt(np.maximum(variances[kept], 1e-6))
    outside = ((steps - steps @ axes @ axes.T) ** 2).sum(axis=1)
    rest = np.sqrt(outside.mean()) if axes.shape[1] < axes.shape[0] else 0.0
    familiar = MahalanobisModel(mean, scale, axes, spread, np.asarray(rest), np.asarray(np.inf))
    limit = _ELSEWHERE * np.quantile(familiar.distance(held_out), _FARTHEST)
    return MahalanobisModel(mean, scale, axes, spread, np.asarray(rest), limit)


@dataclass(frozen=True)
class OutOfDistributionDetector:
    """What a run takes for a frontal chest radiograph.

    Attributes:
        lungs: the lung fields' `shape` of familiar images; None where lungs say nothing.
        features: the features of familiar images.
    """

    lungs: MahalanobisModel | None
    features: MahalanobisModel

    def reason(self, lungs: Lungs, features: np.ndarray) -> str:
        """Why an image should not be read, in a sentence; empty for a familiar one.

        Args:
            lungs: its lung fields.
            features: ``[k]``, the run's network's.
        """
        if self.lungs:
            if not lungs.found:
                return NO_LUNGS
            if self.lungs.distance(shape(lungs)[None])[0] > self.lungs.limit:
                return ODD_LUNGS
        if self.features.distance(features[None])[0] > self.features.limit:
            return UNLIKE
        return ""

    def save(self, file: Path) -> None:
        """Write an ``.npz``."""
        arrays: dict[str, Any] = {
            f"{part}_{field.name}": np.asarray(getattr(familiar, field.name), np.float32)
            for part, familiar in vars(self).items()
            if familiar
            for field in fields(MahalanobisModel)
        }
        with file.open("wb") as target:
            np.savez_compressed(target, **arrays)


def load(run: Run, features: int) -> OutOfDistributionDetector:
    """What a finished run takes for a frontal chest radiograph.

    Args:
        run: the run.
        features: how many its network gives.

    Raises:
        RunError: its file is missing, damaged, or of another network.
    """
    file = run.out_of_distribution_file
    try:
        with ZipFile(file) as packed:
            # Before anything is unpacked: a small file can hold gigabytes of zeros.
            if sum(part.file_size for part in packed.infolist()) > _LARGEST:
                raise ValueError(f"it unpacks to more than {_LARGEST >> 20} MB")
        with np.load(file) as stored:
            lungs = _read(stored, "lungs", _SHAPE) if "lungs_mean" in stored else None
            return OutOfDistributionDetector(lungs, _read(stored, "features", features))
    except (OSError, ValueError, KeyError, BadZipFile, zlib.error) as error:
        raise RunError(
            f"The run {run.name} has no readable {file.name}, and cannot tell radiographs from "
            f"other images ({error}). Copy the run's folder again, or retrain."
        ) from error


def _read(stored: Mapping[str, np.ndarray], part: str, size: int) -> MahalanobisModel:
    """One part of an ``.npz``, of vectors ``[size]``."""
    found = MahalanobisModel(
        *(stored[f"{part}_{field.name}"] for field in fields(MahalanobisModel))
    )
    components = found.spread.size
    shapes = [(size,), (size,), (size, components), (components,), (), ()]
    for array, expected in zip(vars(found).values(), shapes, strict=True):
        if array.dtype != np.float32 or array.shape != expected or not np.isfinite(array).all():
            raise ValueError(f"{part} does not fit")
    if components == 0 or min(found.scale.min(), found.spread.min(), found.limit) <= 0:
        raise ValueError(f"{part} has no extent")
    return found


def fit(
    shapes: np.ndarray, features: np.ndarray, train: np.ndarray, validation: np.ndarray
) -> OutOfDistributionDetector:
    """Learn what is familiar.

    Args:
        shapes: `shape` of each image's lung fields, ``[n, j]``.
        features: of each image, ``[n, k]``.
        train: rows whose vectors are familiar.
        validation: rows that the limits are chosen on, so that few of them are rejected.
    """
    found = ~np.isnan(shapes).any(axis=1)
    lungs = None
    if found[validation].mean() >= _LUNGS_EXPECTED:
        lungs = _fit(shapes[train][found[train]], shapes[validation][found[validation]])
    return OutOfDistributionDetector(
        lungs, _fit(features[train], features[validation], _LEAST_STEP)
    )


def shape(lungs: Lungs) -> np.ndarray:
    """Size, place, symmetry and certainty of lung fields, ``float64 [j]``; NaN without lungs."""
    mask, probability = lungs.mask > 0, lungs.probability
    if not lungs.found:
        return np.full(_SHAPE, np.nan)
    side = len(mask)
    rows, columns = np.nonzero(mask)
    (top, bottom), (near, far) = np.quantile(rows, _ENDS), np.quantile(columns, _ENDS)
    middle = int((near + far) / 2)
    left, right = mask[:, :middle], mask[:, middle:]
    # How far the lungs keep apart, from top to bottom: a lateral view has one field, not two.
    gaps = [
        (~mask[row, int(near) : int(far) + 1]).mean()
        for row in np.linspace(top, bottom, 6).astype(int)[1:-1]
    ]
    return np.array(
        [
            np.log(mask.mean()),
            np.log((left.sum() + 1) / (right.sum() + 1)),
            rows.mean() / side,
            columns.mean() / side,
            top / side,
            bottom / side,
            near / side,
            far / side,
            np.log((far - near + 1) / (bottom - top + 1)),
            probability[mask].mean(),
            # Undecided pixels, against the length that a border has.
            ((probability > 0.1) & (probability < 0.9)).sum() / np.sqrt(mask.sum()),
            *gaps,
        ]
    )

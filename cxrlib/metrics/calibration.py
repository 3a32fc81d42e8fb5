"""Whether a probability means what it says, and scaling to make it so."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Bools, Floats, Ints, as_labels, as_probabilities, ratio
from cxrlib.metrics.estimates import Estimate, wilson

CALIBRATION_BINS = 15

# Probabilities below this are taken as this, so that their logarithm is finite.
_FLOOR = 1e-7
_INVERSE_TEMPERATURES = (0.05, 20.0)
_OFFSETS = (-5.0, 5.0)


@dataclass(frozen=True)
class CalibrationPoint:
    """One bin of a calibration curve: mean predicted probability against observed fraction."""

    predicted: float
    observed: Estimate
    count: int


def expected_calibration_error(
    y_true: ArrayLike, y_score: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error of the probability of pneumonia (Naeini et al. 2015).

    The gap between mean probability and observed fraction in each of ``bins`` bins of equal
    width, weighted by the share of radiographs in it. Bins are open below and closed above; 0
    belongs to the first. ``nan`` for empty input. Few radiographs a bin make it too large, even
    for a perfectly calibrated model.

    >>> expected_calibration_error([0, 1, 1, 1], [0.5, 0.5, 1.0, 1.0])
    0.0
    """
    positive = as_labels(y_true)
    score = as_probabilities(y_score, positive.size)
    gaps = gaps_by_bin(positive, score, bins).sum(axis=0)
    return float(ratio(np.abs(gaps).sum(), positive.size))


def gaps_by_bin(positive: Bools, score: Floats, bins: int) -> Floats:
    """``score - label`` of each radiograph in the column of its bin: float64 [n, bins].

    Sums over radiographs, weighted or not, give the calibration error without another pass.
    """
    gaps = np.zeros((score.size, bins))
    gaps[np.arange(score.size), _bin_of(score, bins)] = score - positive
    return gaps


def reliability(
    y_true: ArrayLike, y_score: ArrayLike, *, bins: int = CALIBRATION_BINS, at_least: int = 1
) -> list[CalibrationPoint]:
    """Points of the calibration curve, by rising probability; empty bins are left out.

    Bins are those of :func:`expected_calibration_error`; observed fractions carry Wilson
    intervals.

    Args:
        y_true: ``[n]``, whether each is positive.
        y_score: ``[n]`` in 0..1.
        bins: of equal width.
        at_least: neighbouring bins are joined until each holds so many, as far as there are.

    >>> for point in reliability([0, 1, 1, 1], [0.1, 0.1, 0.9, 0.9], bins=2):
    ...     print(point.predicted, point.observed, point.count)
    0.1 0.500 (0.095–0.905) 2
    0.9 1.000 (0.342–1.000) 2
    """
    positive = as_labels(y_true)
    score = as_probabilities(y_score, positive.size)
    index = _joined(_bin_of(score, bins), at_least)
    points = []
    for one_bin in np.unique(index):
        inside = index == one_bin
        count = int(np.count_nonzero(inside))
        observed = wilson(int(np.count_nonzero(positive & inside)), count)
        points.append(CalibrationPoint(float(score[inside].mean()), observed, count))
    return points


def _joined(index: Ints, at_least: int) -> Ints:
    """Numbers of bins, where small ones share that of a neighbour."""
    bins, counts = np.unique(index, return_counts=True)
    new, inside = 0, 0
    numbers = np.empty_like(bins)
    for place, count in enumerate(counts):
        numbers[place] = new
        inside += count
        if inside >= at_least:
            new, inside = new + 1, 0
    if inside and new:  # the last ones are too few: they join the bin before
        numbers[numbers == new] = new - 1
    return numbers[np.searchsorted(bins, index)]


@dataclass(frozen=True)
class Calibration:
    """Bias-corrected temperature scaling, ``softmax(log p / T + b)`` (Alexandari et al. 2020).

    Temperature alone (Guo et al., ICML 2017) cannot undo what class weights or oversampling did
    to the balance of the classes; an offset for each class can.

    Attributes:
        temperature: above 1 the model was overconfident, below 1 underconfident.
        offsets: one for each class; the first is 0.

    >>> Calibration(2.0, (0.0, 0.0)).apply([[0.2, 0.8]]).round(3)
    array([[0.333, 0.667]])
    """

    temperature: float
    offsets: tuple[float, ...]

    def apply(self, probabilities: ArrayLike) -> Floats:
        """Calibrated probabilities ``float64 [..., classes]`` of a network's ``[..., classes]``.

        With two classes the order of the images stays. Probabilities below 1e-7 count as 1e-7.
        """
        logits = _logits(np.asarray(probabilities, dtype=np.float64))
        calibrated = logits / self.temperature + np.asarray(self.offsets)
        odds = np.exp(calibrated - calibrated.max(axis=-1, keepdims=True))
        return odds / odds.sum(axis=-1, keepdims=True)


def fit_calibration(probabilities: ArrayLike, labels: ArrayLike) -> Calibration:
    """The calibration that minimises the negative log likelihood.

    ``probabilities`` [n, classes] are a softmax's output (for a sigmoid ``p`` pass
    ``[1 - p, p]``), ``labels`` [n] the true class as a whole number. The temperature lies between
    0.05 and 20, offsets between -5 and 5, so that they stay finite where the data set no bound, as
    when every radiograph is classified rightly.

    Raises ``ValueError`` for empty input or labels that name no column.
    """
    # Loaded here because only training needs it, and pages that show numbers should open at once.
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    p, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or not len(p) or truth.shape != (len(p),):
        raise ValueError(
            "Calibration needs at least one radiograph, a row of class probabilities for "
            f"each and its label; got shapes {list(p.shape)} and {list(truth.shape)}."
        )
    if not np.isin(truth, np.arange(p.shape[1])).all():
        raise ValueError(f"Labels must be whole numbers from 0 to {p.shape[1] - 1}.")
    logits = _logits(p)
    one_hot = np.eye(p.shape[1])[truth.astype(int)]

    def loss(values: Floats) -> tuple[float, Floats]:
        """Convex in the inverse temperature and the offsets; with its gradient."""
        scaled = log_softmax(logits * values[0] + np.append(0, values[1:]), axis=1)
        excess = (np.exp(scaled) - one_hot) / len(p)
        slopes = np.append((excess * logits).sum(), excess.sum(axis=0)[1:])
        return -float((one_hot * scaled).sum() / len(p)), slopes

    start = np.append(1.0, np.zeros(p.shape[1] - 1))
    bounds = [_INVERSE_TEMPERATURES] + [_OFFSETS] * (p.shape[1] - 1)
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return Calibration(float(1 / found[0]), (0.0, *(float(offset) for offset in found[1:])))


def _logits(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _FLOOR))


def _bin_of(score: Floats, bins: int) -> np.ndarray:
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], score)

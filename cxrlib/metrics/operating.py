"""Operating points: thresholds chosen on validation, how sure they are, and the verdict."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Floats, as_labels, as_probabilities, ratio
from cxrlib.metrics.bootstrap import REPLICATES, cluster_bootstrap, percentile_interval
from cxrlib.metrics.curves import Ranking
from cxrlib.metrics.estimates import covering

OPERATING_POINTS = ("youden", "sensitivity_95", "sensitivity_99", "fixed_50")

Verdict = Literal["likely", "unlikely", "uncertain"]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and the 95 % interval of where it could as well have been put."""

    name: str
    threshold: float
    low: float
    high: float


def operating_points(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, OperatingPoint]:
    """Thresholds chosen on validation data, by name.

    - ``youden``: the largest sensitivity + specificity (Youden 1950); of several, the most
      sensitive;
    - ``sensitivity_95``, ``sensitivity_99``: the largest threshold whose sensitivity is at least
      0.95, 0.99;
    - ``fixed_50``: 0.5, whatever the data; its interval has no width.

    Any threshold between two neighbouring scores calls the same radiographs positive, so the one
    midway is taken; below the lowest score, the one midway to 0. Intervals are percentiles over
    the same choice on resampled patients (``groups`` [n]), and always hold their threshold.

    Raises ``ValueError`` unless both classes and at least two patients are there.

    >>> points = operating_points([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
    >>> points["youden"].threshold
    0.4
    """
    positive = as_labels(y_true)
    score = as_probabilities(y_score, positive.size)
    if positive.all() or not positive.any():
        raise ValueError(
            "Operating points need radiographs of both classes, normal and pneumonia: choose "
            "other validation data."
        )
    ranking = Ranking(positive, score)

    def thresholds(weights: Floats) -> Floats:
        return _choose(ranking.scores, *ranking.counts(weights))

    chosen = thresholds(np.ones((1, score.size)))[0]
    drawn = cluster_bootstrap(thresholds, score.size, groups, replicates=replicates, seed=seed)
    low, high = percentile_interval(drawn)
    if np.isnan(low).any():
        raise ValueError(
            "Operating points need radiographs of at least two patients: choose other "
            "validation data."
        )
    points = {}
    for name, *ends in zip(OPERATING_POINTS[:-1], chosen, low, high, strict=True):
        estimate = covering(*ends)
        points[name] = OperatingPoint(name, estimate.value, estimate.low, estimate.high)
    points["fixed_50"] = OperatingPoint("fixed_50", 0.5, 0.5, 0.5)
    return points


def verdict(probability: float, point: OperatingPoint) -> Verdict:
    """``likely`` above the operating point's interval, ``unlikely`` below, else ``uncertain``.

    Inside the interval, ends included, the probability cannot be told from the threshold.

    >>> point = OperatingPoint("youden", threshold=0.4, low=0.3, high=0.6)
    >>> verdict(0.7, point), verdict(0.5, point), verdict(0.1, point)
    ('likely', 'uncertain', 'unlikely')
    """
    if probability > point.high:
        return "likely"
    if probability < point.low:
        return "unlikely"
    return "uncertain"


def _choose(scores: Floats, tp: Floats, fp: Floats) -> Floats:
    """Youden's and the two sensitive thresholds [b, 3] from counts [b, k + 1]."""
    positives, negatives = tp[:, -1:], fp[:, -1:]
    # Youden's index times both class sizes: whole numbers, in which ties are exact. Cut 0 calls
    # nothing and never beats the last cut, which calls everything.
    youden = (tp * negatives - fp * positives)[:, 1:]
    most_sensitive_best = scores.size - np.argmax(youden[:, ::-1], axis=1)
    sensitivity = ratio(tp, positives)
    cuts = [most_sensitive_best, *(np.argmax(sensitivity >= t, axis=1) for t in (0.95, 0.99))]
    chosen = np.column_stack([_midway(scores, tp + fp, cut) for cut in cuts])
    chosen[(positives * negatives == 0)[:, 0]] = np.nan
    return chosen


def _midway(scores: Floats, called: Floats, cut: np.ndarray) -> Floats:
    """Threshold [b] midway between the scores beside each cut, skipping scores not drawn."""
    wanted = np.take_along_axis(called, cut[:, None], axis=1)
    neighbours = np.append(scores, 0.0)
    above = neighbours[np.count_nonzero(called < wanted, axis=1) - 1]
    below = neighbours[np.count_nonzero(called <= wanted, axis=1) - 1]
    # Between neighbouring floating-point numbers the mean may round down to the one below.
    midway: Floats = np.maximum((above + below) / 2, np.nextafter(below, above))
    return midway

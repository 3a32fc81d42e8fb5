"""Two models on the same radiographs: is one better, or is it chance?"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Bools, Floats, as_labels, as_patients, as_scores
from cxrlib.metrics.estimates import Z_95, Estimate


@dataclass(frozen=True)
class AucComparison:
    """ROC-AUC of A minus that of B with its interval, and the two-sided p-value."""

    difference: Estimate
    p_value: float


@dataclass(frozen=True)
class McNemar:
    """Radiographs that only A or only B classified rightly, and the two-sided p-value."""

    only_a: int
    only_b: int
    p_value: float


def delong_test(
    y_true: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
) -> AucComparison:
    """Paired comparison of two ROC-AUCs (DeLong, DeLong & Clarke-Pearson 1988).

    Placements come from sorted scores, in n log n time as in Sun & Xu (2014). ``groups`` [n] is
    the patient of each radiograph (Obuchowski 1997); without it radiographs are taken as
    independent, and several of one patient make the p-value too small.

    With fewer than two patients of a class all is ``nan``. Two models that rank alike differ by
    0 with p-value 1.

    >>> result = delong_test([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], [0.4, 0.1, 0.3, 0.2])
    >>> result.difference.value
    0.25
    """
    positive = as_labels(y_true)
    patient = as_patients(groups, positive.size)
    with_pneumonia, normal = np.unique(patient[positive]), np.unique(patient[~positive])
    if min(with_pneumonia.size, normal.size) < 2:
        return AucComparison(Estimate(np.nan, np.nan, np.nan), np.nan)
    placed_a = _placements(positive, as_scores(score_a, positive.size))
    placed_b = _placements(positive, as_scores(score_b, positive.size))
    placed = placed_a - placed_b
    difference = float(placed[positive].mean())
    # Each patient's share of the difference's error, by its positives and by its negatives.
    share = (placed - difference) / np.where(positive, positive.sum(), (~positive).sum())
    u = np.bincount(patient, weights=share * positive)
    v = np.bincount(patient, weights=share * ~positive)
    variance = (
        _unbiased(with_pneumonia.size) * (u @ u)
        + _unbiased(normal.size) * (v @ v)
        + _unbiased(u.size) * 2 * (u @ v)
    )
    error = float(np.sqrt(variance))
    if error == 0:
        p_value = 1.0 if difference == 0 else 0.0
    else:
        p_value = 2 * NormalDist().cdf(-abs(difference) / error)
    half = Z_95 * error
    return AucComparison(Estimate(difference, difference - half, difference + half), p_value)


def mcnemar_test(y_true: ArrayLike, called_a: ArrayLike, called_b: ArrayLike) -> McNemar:
    """Exact McNemar test of two models' calls, 0 or 1, at their thresholds (McNemar 1947).

    Only radiographs on which one model is right and the other wrong count; were the models
    equally good, either would be right on half of those. Without any the p-value is 1.

    >>> mcnemar_test([1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 1])
    McNemar(only_a=4, only_b=0, p_value=0.125)
    """
    from scipy.special import bdtr  # reading an image does not wait for it

    positive = as_labels(y_true)
    calls_a, calls_b = as_labels(called_a), as_labels(called_b)
    if not positive.size == calls_a.size == calls_b.size:
        raise ValueError(
            f"There are {positive.size} labels but {calls_a.size} and {calls_b.size} calls: "
            "compare two runs on the same radiographs, in the same order."
        )
    right_a, right_b = calls_a == positive, calls_b == positive
    only_a = int(np.count_nonzero(right_a & ~right_b))
    only_b = int(np.count_nonzero(~right_a & right_b))
    p_value = min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))
    return McNemar(only_a, only_b, p_value)


def _placements(positive: Bools, score: Floats) -> Floats:
    """Share [n] of the other class that a radiograph is ranked rightly against; ties half."""
    above_normal = _share_below(np.sort(score[~positive]), score)
    below_pneumonia = 1 - _share_below(np.sort(score[positive]), score)
    return np.where(positive, above_normal, below_pneumonia)


def _share_below(ranked: Floats, score: Floats) -> Floats:
    below = np.searchsorted(ranked, score, "left") + np.searchsorted(ranked, score, "right")
    return below / (2 * ranked.size)


def _unbiased(n: int) -> float:
    return n / (n - 1)

"""The confusion matrix at one threshold, and what follows from it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Floats, as_labels, as_scores, ratio
from cxrlib.metrics.estimates import Estimate, wilson


@dataclass(frozen=True)
class Confusion:
    """True and false positives and negatives; every property is ``nan`` where undefined."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def accuracy(self) -> float:
        return float(ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn))

    @property
    def sensitivity(self) -> float:
        """Share of pneumonia called positive; also recall, true positive rate."""
        return float(ratio(self.tp, self.tp + self.fn))

    @property
    def specificity(self) -> float:
        """Share of normal called negative; also true negative rate."""
        return float(ratio(self.tn, self.tn + self.fp))

    @property
    def precision(self) -> float:
        """Share of positive calls that are pneumonia; also positive predictive value."""
        return float(ratio(self.tp, self.tp + self.fp))

    @property
    def npv(self) -> float:
        """Share of negative calls that are normal: negative predictive value."""
        return float(ratio(self.tn, self.tn + self.fn))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and sensitivity."""
        return float(f1_score(self.tp, self.fp, self.fn))

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity."""
        return float(balanced_accuracy_score(self.tp, self.fp, self.fn, self.tn))

    @property
    def mcc(self) -> float:
        """Matthews correlation coefficient, -1 to 1 (Matthews 1975)."""
        return float(matthews(self.tp, self.fp, self.fn, self.tn))

    @property
    def positive_likelihood_ratio(self) -> float:
        """Factor by which a positive call multiplies the odds; ``inf`` at specificity 1."""
        return _factor(self.tp * (self.fp + self.tn), self.fp * (self.tp + self.fn))

    @property
    def negative_likelihood_ratio(self) -> float:
        """Factor by which a negative call multiplies the odds; ``inf`` at specificity 0."""
        return _factor(self.fn * (self.fp + self.tn), self.tn * (self.tp + self.fn))

    def proportions(self) -> dict[str, Estimate]:
        """Accuracy, sensitivity, specificity, precision and NPV with Wilson intervals.

        The intervals take radiographs as independent; several of one patient make them somewhat
        too narrow.
        """
        return {
            "accuracy": wilson(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn),
            "sensitivity": wilson(self.tp, self.tp + self.fn),
            "specificity": wilson(self.tn, self.tn + self.fp),
            "precision": wilson(self.tp, self.tp + self.fp),
            "npv": wilson(self.tn, self.tn + self.fn),
        }


def confusion(y_true: ArrayLike, y_score: ArrayLike, threshold: float) -> Confusion:
    """Counts at a threshold: positive where ``score >= threshold``.

    Raises ``ValueError`` for labels other than 0 and 1, scores that are not finite, or lengths
    that differ.

    >>> matrix = confusion([0, 0, 1, 1], [0.1, 0.5, 0.4, 0.9], threshold=0.5)
    >>> matrix
    Confusion(tp=1, fp=1, fn=1, tn=1)
    >>> matrix.sensitivity
    0.5
    """
    positive = as_labels(y_true)
    called = as_scores(y_score, positive.size) >= threshold
    return Confusion(
        tp=int(np.count_nonzero(positive & called)),
        fp=int(np.count_nonzero(~positive & called)),
        fn=int(np.count_nonzero(positive & ~called)),
        tn=int(np.count_nonzero(~positive & ~called)),
    )


# Element-wise, so that the same formulas serve one matrix and a block of bootstrap replicates.


def f1_score(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    tp, fp, fn = _floats(tp, fp, fn)
    return ratio(2 * tp, 2 * tp + fp + fn)


def balanced_accuracy_score(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Floats:
    tp, fp, fn, tn = _floats(tp, fp, fn, tn)
    return (ratio(tp, tp + fn) + ratio(tn, tn + fp)) / 2


def matthews(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Floats:
    tp, fp, fn, tn = _floats(tp, fp, fn, tn)
    scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return ratio(tp * tn - fp * fn, scale)


def _floats(*counts: ArrayLike) -> tuple[Floats, ...]:
    return tuple(np.asarray(count, dtype=np.float64) for count in counts)


def _factor(numerator: int, denominator: int) -> float:
    if denominator:
        return numerator / denominator
    return math.inf if numerator else math.nan

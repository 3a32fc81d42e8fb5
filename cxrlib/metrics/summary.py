"""Every number about a model at one threshold, each with its 95 % interval."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Bools, Floats, as_labels, as_probabilities, ratio
from cxrlib.metrics.bootstrap import REPLICATES, cluster_bootstrap, percentile_interval
from cxrlib.metrics.calibration import CALIBRATION_BINS, gaps_by_bin
from cxrlib.metrics.confusion import balanced_accuracy_score, confusion, f1_score, matthews
from cxrlib.metrics.curves import Ranking, area_under_roc, average_precision
from cxrlib.metrics.estimates import Estimate, covering

_BOOTSTRAPPED = (
    "f1",
    "balanced_accuracy",
    "mcc",
    "roc_auc",
    "pr_auc",
    "brier",
    "log_loss",
    "ece",  # the last: its interval is not the percentiles
)
_FLOOR = 1e-7  # the loss of a probability that is certain and wrong stays finite


def summarize(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    threshold: float,
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Metrics of probabilities of pneumonia, positive where ``y_score >= threshold``.

    Keys: ``accuracy``, ``sensitivity``, ``specificity``, ``precision``, ``npv`` with Wilson
    intervals; ``f1``, ``balanced_accuracy``, ``mcc``, ``roc_auc``, ``pr_auc`` (average
    precision), ``brier``, ``log_loss`` (cross-entropy), ``ece`` (15 bins) with bootstrap intervals
    over patients, ``groups`` [n]. Intervals always hold their value. ``nan`` where undefined; a
    lone patient has values but no bootstrap intervals.

    Bootstrap intervals are percentiles, but the calibration error's is reflected about its value
    (the basic bootstrap): resampling adds to a sum of absolute gaps as much as sampling did, so
    its percentiles lie on the wrong side. Where a model is nearly perfect the bootstrap sees no
    errors to draw and its interval is too short.

    Raises ``ValueError`` for labels other than 0 and 1, scores that are not probabilities, or
    lengths that differ.

    >>> numbers = summarize([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.8], threshold=0.5)
    >>> print(numbers["sensitivity"])
    0.500 (0.095–0.905)
    >>> numbers["roc_auc"].value
    0.75
    """
    positive = as_labels(y_true)
    score = as_probabilities(y_score, positive.size)
    ranking = Ranking(positive, score)
    called = score >= threshold
    cells = np.column_stack(
        [positive & called, ~positive & called, positive & ~called, ~positive & ~called]
    ).astype(np.float64)
    squared_errors = (score - positive) ** 2
    losses = cross_entropy(positive, score)
    gaps = gaps_by_bin(positive, score, CALIBRATION_BINS)

    def statistics(weights: Floats) -> Floats:
        tp, fp, fn, tn = (weights @ cells).T
        counts = ranking.counts(weights)
        total = weights.sum(axis=1)
        return np.column_stack(
            [
                f1_score(tp, fp, fn),
                balanced_accuracy_score(tp, fp, fn, tn),
                matthews(tp, fp, fn, tn),
                area_under_roc(*counts),
                average_precision(*counts),
                ratio(weights @ squared_errors, total),
                ratio(weights @ losses, total),
                ratio(np.abs(weights @ gaps).sum(axis=1), total),
            ]
        )

    values = statistics(np.ones((1, score.size)))[0]
    drawn = cluster_bootstrap(statistics, score.size, groups, replicates=replicates, seed=seed)
    low, high = percentile_interval(drawn)
    low[-1], high[-1] = np.maximum(0.0, 2 * values[-1] - high[-1]), 2 * values[-1] - low[-1]
    summary = confusion(positive, score, threshold).proportions()
    for name, *ends in zip(_BOOTSTRAPPED, values, low, high, strict=True):
        summary[name] = covering(*ends)
    return summary


def cross_entropy(positive: Bools, score: Floats) -> Floats:
    """Negative log probability of the truth, of each radiograph; below 1e-7 counts as 1e-7."""
    losses: Floats = -np.log(np.maximum(np.where(positive, score, 1 - score), _FLOOR))
    return losses


def summary_to_json(summary: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """A summary as plain dictionaries; ``nan``, which JSON does not know, becomes ``None``."""
    return {
        name: {
            field: None if math.isnan(number) else number
            for field, number in vars(estimate).items()
        }
        for name, estimate in summary.items()
    }


def summary_from_json(
    plain: Mapping[str, Mapping[str, float | None]],
) -> dict[str, Estimate]:
    """The inverse of :func:`summary_to_json`."""
    return {
        name: Estimate(
            **{field: math.nan if number is None else number for field, number in fields.items()}
        )
        for name, fields in plain.items()
    }

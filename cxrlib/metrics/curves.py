"""ROC and precision-recall: curves, the areas under them, and 95 % bands."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cxrlib.metrics.arrays import Bools, Floats, as_labels, as_scores, ratio
from cxrlib.metrics.bootstrap import REPLICATES, cluster_bootstrap, percentile_interval

_GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True, eq=False)
class RocCurve:
    """One point for each distinct score, from (0, 0) to (1, 1); arrays float64 [k + 1].

    ``thresholds`` fall from ``inf`` (nothing is called positive) to the lowest score.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """One point for each distinct score, recall rising from 0 to 1; arrays float64 [k + 1].

    The first point, at threshold ``inf``, has precision 1 by convention. Between points the
    curve is a step, not a line: precision at a recall is that of the next point
    (Davis & Goadrich 2006).
    """

    recall: Floats
    precision: Floats
    thresholds: Floats


@dataclass(frozen=True, eq=False)
class Band:
    """Pointwise 95 % band of a curve over a fixed grid of ``x``; arrays float64 [201]."""

    x: Floats
    low: Floats
    high: Floats


class Ranking:
    """Scores sorted once, to count true and false positives at every cut for many weightings.

    ``scores`` float64 [k] are the distinct scores, falling. Tied scores share one cut: no
    threshold can part them.
    """

    def __init__(self, positive: Bools, score: Floats) -> None:
        self.size = score.size
        self._order = np.argsort(-score, kind="stable")
        ranked = score[self._order]
        self._positive = positive[self._order]
        self._cuts = np.flatnonzero(np.diff(ranked, append=-np.inf))
        self.scores: Floats = ranked[self._cuts]

    def counts(self, weights: Floats) -> tuple[Floats, Floats]:
        """Weighted true and false positives [b, k + 1] when the first 0 … k scores are called.

        ``weights`` are [b, n], in the order the ranking was built from.
        """
        ranked = weights[:, self._order]
        called = np.zeros((len(weights), self.scores.size + 1))
        tp = np.zeros_like(called)
        called[:, 1:] = np.cumsum(ranked, axis=1)[:, self._cuts]
        tp[:, 1:] = np.cumsum(ranked * self._positive, axis=1)[:, self._cuts]
        return tp, called - tp

    def plain_counts(self) -> tuple[Floats, Floats]:
        """As :meth:`counts`, each radiograph counted once: [1, k + 1]."""
        return self.counts(np.ones((1, self.size)))


def area_under_roc(tp: Floats, fp: Floats) -> Floats:
    """ROC-AUC [b] from counts [b, k + 1] by the trapezoid rule."""
    twice = ((tp[:, 1:] + tp[:, :-1]) * np.diff(fp)).sum(axis=1)
    return ratio(twice, 2 * tp[:, -1] * fp[:, -1])


def average_precision(tp: Floats, fp: Floats) -> Floats:
    """Average precision [b] from counts [b, k + 1]: precision summed over steps of recall."""
    called = tp + fp
    # Where nothing is called yet recall does not step either, so 0 stands in for 0 / 0.
    precision = np.divide(tp, called, out=np.zeros_like(tp), where=called != 0)
    return ratio((np.diff(tp) * precision[:, 1:]).sum(axis=1), tp[:, -1])


def roc_auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the ROC curve, ties counting half; ``nan`` unless both classes are there.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return float(area_under_roc(*_ranking(y_true, y_score).plain_counts())[0])


def pr_auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the precision-recall curve as average precision; ``nan`` without positives.

    >>> round(pr_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 3)
    0.833
    """
    return float(average_precision(*_ranking(y_true, y_score).plain_counts())[0])


def roc(y_true: ArrayLike, y_score: ArrayLike) -> RocCurve:
    """ROC curve; a rate whose class is missing is ``nan`` throughout.

    >>> curve = roc([0, 1, 1], [0.2, 0.2, 0.9])
    >>> curve.fpr.tolist(), curve.tpr.tolist(), curve.thresholds.tolist()
    ([0.0, 0.0, 1.0], [0.0, 0.5, 1.0], [inf, 0.9, 0.2])
    """
    ranking = _ranking(y_true, y_score)
    tp, fp = (counts[0] for counts in ranking.plain_counts())
    return RocCurve(ratio(fp, fp[-1]), ratio(tp, tp[-1]), _thresholds(ranking))


def precision_recall(y_true: ArrayLike, y_score: ArrayLike) -> PrecisionRecallCurve:
    """Precision-recall curve; recall is ``nan`` throughout without positives.

    >>> curve = precision_recall([0, 1, 1], [0.2, 0.2, 0.8])
    >>> curve.recall.tolist()
    [0.0, 0.5, 1.0]
    """
    ranking = _ranking(y_true, y_score)
    tp, fp = (counts[0] for counts in ranking.plain_counts())
    precision = np.append(1.0, ratio(tp[1:], tp[1:] + fp[1:]))
    return PrecisionRecallCurve(ratio(tp, tp[-1]), precision, _thresholds(ranking))


def roc_band(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Band:
    """95 % band of the true positive rate at fixed false positive rates.

    Vertical averaging (Fawcett 2006, section 9): each bootstrap replicate's curve is read at
    the same false positive rates, and the percentiles taken there. ``groups`` [n] is the patient
    of each radiograph. ``nan`` unless both classes are there.
    """
    ranking = _ranking(y_true, y_score)

    def tpr_on_grid(weights: Floats) -> Floats:
        tp, fp = ranking.counts(weights)
        tpr, fpr = ratio(tp, tp[:, -1:]), ratio(fp, fp[:, -1:])
        # On a vertical stretch np.interp reads the upper end, as vertical averaging wants. A
        # replicate of one class has no curve.
        return np.array(
            [
                np.interp(_GRID, x, y) if x[-1] == y[-1] == 1 else np.full(_GRID.size, np.nan)
                for x, y in zip(fpr, tpr, strict=True)
            ]
        )

    return _band(tpr_on_grid, ranking.size, groups, replicates, seed)


def precision_recall_band(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Band:
    """95 % band of precision at fixed recalls, by the same bootstrap as :func:`roc_band`.

    ``nan`` without positives.
    """
    ranking = _ranking(y_true, y_score)

    def precision_on_grid(weights: Floats) -> Floats:
        tp, fp = ranking.counts(weights)
        precision, recall = ratio(tp, tp + fp), ratio(tp, tp[:, -1:])
        # Recall 0 is read just to its right: the point at 0 is a convention, not data.
        wanted = np.maximum(_GRID, np.finfo(float).tiny)
        return np.array(
            [
                p[np.searchsorted(r, wanted)] if r[-1] == 1 else np.full(_GRID.size, np.nan)
                for p, r in zip(precision, recall, strict=True)
            ]
        )

    return _band(precision_on_grid, ranking.size, groups, replicates, seed)


def _ranking(y_true: ArrayLike, y_score: ArrayLike) -> Ranking:
    positive = as_labels(y_true)
    return Ranking(positive, as_scores(y_score, positive.size))


def _thresholds(ranking: Ranking) -> Floats:
    return np.append(np.inf, ranking.scores)


def _band(
    on_grid: Callable[[Floats], Floats],
    n: int,
    groups: ArrayLike | None,
    replicates: int,
    seed: int,
) -> Band:
    drawn = cluster_bootstrap(on_grid, n, groups, replicates=replicates, seed=seed)
    return Band(_GRID, *percentile_interval(drawn))

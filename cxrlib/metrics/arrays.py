"""What the metrics share: checked inputs, and a division that knows what undefined means."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


def as_labels(y_true: ArrayLike) -> Bools:
    """Labels (or calls) of 0 and 1, shape [n], as booleans; ``ValueError`` for anything else."""
    labels = np.asarray(y_true)
    if labels.ndim != 1:
        raise ValueError(f"Labels must be one list of 0 and 1, not shape {list(labels.shape)}.")
    wrong = labels[~np.isin(labels, (0, 1))]
    if wrong.size:
        raise ValueError(f"Labels must be 0 (normal) or 1 (pneumonia); found {wrong[0]!s}.")
    return labels.astype(bool)


def as_scores(y_score: ArrayLike, n: int) -> Floats:
    """Finite scores, shape [n], as float64; ``ValueError`` for anything else."""
    scores = np.asarray(y_score, dtype=np.float64)
    if scores.shape != (n,):
        raise ValueError(
            f"There are {n} labels but scores of shape {list(scores.shape)}: give one score "
            "for each radiograph, in the same order."
        )
    broken = int(np.count_nonzero(~np.isfinite(scores)))
    if broken:
        raise ValueError(
            f"{broken} of {n} scores are not finite numbers: the model that gave them is broken; "
            "choose another run or train it again."
        )
    return scores


def as_probabilities(y_score: ArrayLike, n: int) -> Floats:
    """As :func:`as_scores`, and between 0 and 1."""
    scores = as_scores(y_score, n)
    if n and (scores.min() < 0 or scores.max() > 1):
        raise ValueError(
            "Scores must be probabilities between 0 and 1, but lie between "
            f"{scores.min():.3g} and {scores.max():.3g}: apply a sigmoid to logits, divide "
            "percentages by 100."
        )
    return scores


def as_patients(groups: ArrayLike | None, n: int) -> Ints:
    """Number from 0 of each radiograph's patient, shape [n]; without groups each is its own."""
    if groups is None:
        return np.arange(n)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(
            f"There are {n} radiographs but patients of shape {list(names.shape)}: give the "
            "patient of each radiograph, in the same order."
        )
    return np.unique(names, return_inverse=True)[1]


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Element-wise quotient; ``nan`` where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(
        np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    )
    quotient = np.full(denominator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient

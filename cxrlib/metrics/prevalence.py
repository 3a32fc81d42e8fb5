"""What a call means where pneumonia is as common as one says, not as in the test set."""

import math

import numpy as np

from cxrlib.metrics.confusion import Confusion
from cxrlib.metrics.estimates import Z_95, Estimate, covering


def likelihood_ratios(matrix: Confusion) -> tuple[Estimate, Estimate]:
    """Positive and negative likelihood ratio: what a call multiplies the odds of pneumonia by.

    Intervals by the logarithm's standard error (Simel, Samsa & Matchar 1991), radiographs taken
    as independent. Where a cell of the matrix is empty, half a radiograph is added to each for
    the interval, not for the value. All ``nan`` where undefined.

    >>> positive, negative = likelihood_ratios(Confusion(tp=80, fp=10, fn=20, tn=90))
    >>> print(positive, negative)
    8.000 (4.408–14.520) 0.222 (0.149–0.331)
    """
    swapped = Confusion(tp=matrix.fn, fp=matrix.tn, fn=matrix.tp, tn=matrix.fp)
    return (
        _ratio(matrix.positive_likelihood_ratio, matrix),
        _ratio(matrix.negative_likelihood_ratio, swapped),
    )


def predictive_values(matrix: Confusion, prevalence: float) -> tuple[Estimate, Estimate]:
    """Positive and negative predictive value where a share ``prevalence`` has pneumonia.

    Bayes' rule on :func:`likelihood_ratios`, whose intervals then are the logit intervals of
    Mercaldo, Lau & Zhou 2007, with the prevalence taken as known. ``nan`` where undefined.

    Raises ``ValueError`` unless the prevalence lies between 0 and 1, ends excluded.

    >>> ppv, npv = predictive_values(Confusion(tp=80, fp=10, fn=20, tn=90), 0.1)
    >>> print(ppv, npv)
    0.471 (0.329–0.617) 0.976 (0.965–0.984)
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"The prevalence must lie between 0 and 1, and is {prevalence}.")
    after_positive, after_negative = (
        [_probability(end, prevalence) for end in (ratio.value, ratio.low, ratio.high)]
        for ratio in likelihood_ratios(matrix)
    )
    value, low, high = (1 - chance for chance in after_negative)
    return Estimate(*after_positive), Estimate(value, high, low)


def at_prevalence(probability: float, calibrated_on: float, prevalence: float) -> float:
    """What a probability becomes where a share ``prevalence`` has pneumonia.

    Bayes' rule, for a ``probability`` that is calibrated where a share ``calibrated_on`` has it
    (Elkan, IJCAI 2001): pneumonia is to be rarer or more common, and to look as it does there.

    Raises ``ValueError`` unless both shares lie between 0 and 1, ends excluded.

    >>> round(at_prevalence(0.95, calibrated_on=0.74, prevalence=0.1), 2)
    0.43
    """
    for share in (calibrated_on, prevalence):
        if not 0 < share < 1:
            raise ValueError(f"The prevalence must lie between 0 and 1, and is {share}.")
    positive = probability * prevalence / calibrated_on
    negative = (1 - probability) * (1 - prevalence) / (1 - calibrated_on)
    return positive / (positive + negative)


def natural_frequencies(matrix: Confusion, prevalence: float, patients: int = 1000) -> Confusion:
    """The matrix that ``patients`` people would give, in whole persons (Gigerenzer 2007).

    Raises ``ValueError`` where the matrix has no pneumonia or no normal radiographs.

    >>> natural_frequencies(Confusion(tp=80, fp=10, fn=20, tn=90), 0.1)
    Confusion(tp=80, fp=90, fn=20, tn=810)
    """
    if math.isnan(matrix.sensitivity) or math.isnan(matrix.specificity):
        raise ValueError(
            "What happens to patients can only be said from images of both classes, normal and "
            "pneumonia: choose other images."
        )
    positive = round(patients * prevalence)
    found = round(positive * matrix.sensitivity)
    cleared = round((patients - positive) * matrix.specificity)
    return Confusion(tp=found, fp=patients - positive - cleared, fn=positive - found, tn=cleared)


def _ratio(value: float, matrix: Confusion) -> Estimate:
    """A likelihood ratio, ``tp / (tp + fn)`` over ``fp / (fp + tn)``, with its interval."""
    if math.isnan(value):
        return Estimate(math.nan, math.nan, math.nan)
    cells = np.array([matrix.tp, matrix.fp, matrix.fn, matrix.tn], dtype=np.float64)
    tp, fp, fn, tn = cells if cells.all() else cells + 0.5
    centre = math.log(tp / (tp + fn) * (fp + tn) / fp)
    error = math.sqrt(1 / tp - 1 / (tp + fn) + 1 / fp - 1 / (fp + tn))
    return covering(value, math.exp(centre - Z_95 * error), math.exp(centre + Z_95 * error))


def _probability(ratio: float, prevalence: float) -> float:
    """Bayes' rule: the probability that odds of ``prevalence`` times ``ratio`` make."""
    return 1.0 if math.isinf(ratio) else ratio * prevalence / (ratio * prevalence + 1 - prevalence)

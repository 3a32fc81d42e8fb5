"""Likelihood ratios and predictive values against SciPy, Bayes' rule and published formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats.contingency import relative_risk

from cxrlib.metrics import (
    Confusion,
    at_prevalence,
    likelihood_ratios,
    natural_frequencies,
    predictive_values,
)

without_deadline = settings(deadline=None)
cell = st.integers(1, 500)
full_matrices = st.builds(Confusion, tp=cell, fp=cell, fn=cell, tn=cell)
prevalences = st.floats(0.01, 0.99)


def ends(estimate):
    return [estimate.value, estimate.low, estimate.high]


@without_deadline
@given(full_matrices)
def test_likelihood_ratios_are_relative_risks_of_a_call(matrix):
    ill, healthy = matrix.tp + matrix.fn, matrix.fp + matrix.tn
    positive, negative = likelihood_ratios(matrix)
    for found, of_ill, of_healthy in (
        (positive, matrix.tp, matrix.fp),
        (negative, matrix.fn, matrix.tn),
    ):
        oracle = relative_risk(of_ill, ill, of_healthy, healthy)
        interval = oracle.confidence_interval(0.95)
        assert ends(found) == pytest.approx([oracle.relative_risk, *interval], rel=1e-9)


@without_deadline
@given(full_matrices, prevalences)
def test_predictive_values_follow_bayes_and_mercaldo(matrix, prevalence):
    sensitivity, specificity = matrix.sensitivity, matrix.specificity
    ill, healthy = matrix.tp + matrix.fn, matrix.fp + matrix.tn
    true_calls = sensitivity * prevalence
    false_calls = (1 - specificity) * (1 - prevalence)
    # Mercaldo, Lau & Zhou, Statistics in Medicine 26 (2007) 2170-2183, equations 8 and 10.
    error = math.sqrt(
        (1 - sensitivity) / sensitivity / ill + specificity / (1 - specificity) / healthy
    )
    value = true_calls / (true_calls + false_calls)
    half = norm.ppf(0.975) * error
    ppv, _ = predictive_values(matrix, prevalence)
    assert ppv.value == pytest.approx(value)
    assert ppv.low == pytest.approx(expit(logit(value) - half), rel=1e-6)
    assert ppv.high == pytest.approx(expit(logit(value) + half), rel=1e-6)


@given(full_matrices, prevalences)
def test_npv_is_the_ppv_of_the_opposite_question(matrix, prevalence):
    opposite = Confusion(tp=matrix.tn, fp=matrix.fn, fn=matrix.fp, tn=matrix.tp)
    _, npv = predictive_values(matrix, prevalence)
    ppv, _ = predictive_values(opposite, 1 - prevalence)
    assert ends(npv) == pytest.approx(ends(ppv))


@given(full_matrices)
def test_at_the_sample_s_own_prevalence_nothing_changes(matrix):
    total = matrix.tp + matrix.fp + matrix.fn + matrix.tn
    ppv, npv = predictive_values(matrix, (matrix.tp + matrix.fn) / total)
    assert ppv.value == pytest.approx(matrix.precision)
    assert npv.value == pytest.approx(matrix.npv)


def test_intervals_cover_the_truth():
    rng = np.random.default_rng(0)
    sensitivity, specificity, prevalence, repeats = 0.9, 0.8, 0.1, 1000
    truth = sensitivity * prevalence / (sensitivity * prevalence + 0.2 * (1 - prevalence))
    covered = 0
    for tp, tn in zip(
        rng.binomial(120, sensitivity, repeats), rng.binomial(80, specificity, repeats), strict=True
    ):
        ppv, _ = predictive_values(Confusion(tp, 80 - tn, 120 - tp, tn), prevalence)
        covered += ppv.low <= truth <= ppv.high
    assert 0.935 < covered / repeats < 0.97


@pytest.mark.parametrize(
    ("matrix", "ppv", "npv"),
    [
        (Confusion(tp=20, fp=0, fn=5, tn=30), 1, 30 / 35),
        (Confusion(tp=25, fp=10, fn=0, tn=20), 25 / 35, 1),
        (Confusion(tp=25, fp=0, fn=0, tn=30), 1, 1),
    ],
)
def test_empty_cells_have_one_sided_intervals(matrix, ppv, npv):
    prevalence = 25 / (25 + matrix.fp + matrix.tn)
    found_ppv, found_npv = predictive_values(matrix, prevalence)
    assert (found_ppv.value, found_npv.value) == pytest.approx((ppv, npv))
    for found in (found_ppv, found_npv):
        assert 0 < found.low < found.value <= found.high <= 1


@pytest.mark.parametrize("matrix", [Confusion(5, 0, 3, 0), Confusion(0, 5, 0, 3)])
def test_one_class_gives_nothing(matrix):
    assert all(math.isnan(found.value) for found in predictive_values(matrix, 0.1))
    with pytest.raises(ValueError, match="both classes"):
        natural_frequencies(matrix, 0.1)


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, math.nan])
def test_a_prevalence_lies_between_0_and_1(prevalence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        predictive_values(Confusion(1, 1, 1, 1), prevalence)


@given(full_matrices, prevalences, st.integers(1, 10_000))
def test_natural_frequencies_are_people(matrix, prevalence, patients):
    people = natural_frequencies(matrix, prevalence, patients)
    counts = [people.tp, people.fp, people.fn, people.tn]
    assert min(counts) >= 0
    assert sum(counts) == patients
    assert people.tp + people.fn == round(patients * prevalence)
    # To half a person each way.
    assert abs(people.tp - (people.tp + people.fn) * matrix.sensitivity) <= 0.5
    assert abs(people.tn - (people.tn + people.fp) * matrix.specificity) <= 0.5


def test_a_calibrated_probability_stays_so_where_pneumonia_is_rarer():
    rng = np.random.default_rng(0)
    ill = rng.random(200_000) < 0.7
    finding = rng.normal(np.where(ill, 1, -1))
    told = expit(2 * finding + logit(0.7))  # what Bayes' rule says of two normal distributions
    rarer = rng.random(ill.size) < np.where(ill, 0.1, 0.5)
    prevalence = ill[rarer].mean()
    moved = at_prevalence(told[rarer], 0.7, prevalence)
    for low in np.arange(0, 1, 0.1):
        among = (moved >= low) & (moved < low + 0.1)
        assert ill[rarer][among].mean() == pytest.approx(moved[among].mean(), abs=0.03)


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_probability_is_moved_between_shares_of_0_and_1(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        at_prevalence(0.5, share, 0.1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        at_prevalence(0.5, 0.1, share)

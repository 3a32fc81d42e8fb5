"""Calibration: scikit-learn and known odds as oracles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_readings import both_classes, without_deadline
from scipy.special import expit, logit, softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from cxrlib import metrics

pytestmark = pytest.mark.filterwarnings("error")


@without_deadline
@given(both_classes(), st.integers(1, 20))
def test_reliability_matches_scikit_learn_and_adds_up_to_the_error(data, bins):
    y, s = data
    points = metrics.reliability(y, s, bins=bins)
    observed, predicted = calibration_curve(y, s, n_bins=bins)
    np.testing.assert_allclose([p.predicted for p in points], predicted)
    np.testing.assert_allclose([p.observed.value for p in points], observed)
    gaps = [p.count * abs(p.predicted - p.observed.value) for p in points]
    error = metrics.expected_calibration_error(y, s, bins=bins)
    assert error == pytest.approx(sum(gaps) / y.size, abs=1e-12)


@without_deadline
@given(both_classes(), st.integers(1, 60))
def test_small_bins_are_joined(data, at_least):
    y, s = data
    points = metrics.reliability(y, s, at_least=at_least)
    counts = [point.count for point in points]
    assert sum(counts) == y.size
    assert min(counts) >= min(at_least, y.size)
    assert [point.predicted for point in points] == sorted(point.predicted for point in points)
    positives = sum(point.observed.value * point.count for point in points)
    assert positives == pytest.approx(np.sum(y))


def test_calibration_bins_are_closed_above():
    on_edges = metrics.reliability([0, 1, 0, 1], [0.0, 0.5, 0.5, 1.0], bins=2)
    assert [point.count for point in on_edges] == [3, 1]


def overconfident(factor, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    true_logit = rng.normal(0, 2, n)
    y = (rng.random(n) < expit(true_logit)).astype(int)
    return y, expit(factor * true_logit)


@pytest.mark.slow
def test_calibration_interval_covers_the_error_of_an_overconfident_model():
    y, s = overconfident(1.8, n=400_000, seed=1)
    truth = metrics.expected_calibration_error(y, s)
    covered = 0
    for seed in range(100):
        y, s = overconfident(1.8, n=1000, seed=seed)
        ece = metrics.summarize(y, s, threshold=0.5, replicates=100)["ece"]
        covered += ece.low <= truth <= ece.high
    assert covered / 100 > 0.8


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_calibration_undoes_overconfidence_and_shifted_odds(factor, offset):
    y, s = overconfident(factor)
    s = expit(logit(np.clip(s, 1e-4, 1 - 1e-4)) - offset * factor)
    p = np.column_stack([1 - s, s])
    fitted = metrics.fit_calibration(p, y)
    assert fitted.temperature == pytest.approx(factor, rel=0.08)
    assert fitted.offsets[0] == 0
    assert fitted.offsets[1] == pytest.approx(offset, abs=0.15)
    scaled = fitted.apply(p)[:, 1]
    np.testing.assert_allclose(
        scaled, expit(logit(s) / fitted.temperature + fitted.offsets[1]), atol=1e-6
    )
    for other in (0.97, 1.03):
        moved = metrics.Calibration(fitted.temperature * other, fitted.offsets).apply(p)
        assert sk.log_loss(y, scaled) < sk.log_loss(y, moved)
        moved = metrics.Calibration(fitted.temperature, (0.0, fitted.offsets[1] + other - 1))
        assert sk.log_loss(y, scaled) < sk.log_loss(y, moved.apply(p))


def test_calibration_is_logistic_regression_on_the_log_odds():
    y, s = overconfident(1.7)
    fitted = metrics.fit_calibration(np.column_stack([1 - s, s]), y)
    odds = logit(np.clip(s, 1e-7, 1 - 1e-7))[:, None]
    platt = LogisticRegression(C=np.inf, tol=1e-8).fit(odds, y)
    assert 1 / fitted.temperature == pytest.approx(platt.coef_[0, 0], rel=1e-2)
    assert fitted.offsets[1] == pytest.approx(platt.intercept_[0], abs=1e-2)


def test_calibration_of_three_classes():
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 2, (5000, 3))
    true = softmax(logits, axis=1)
    labels = (true.cumsum(axis=1) < rng.random((5000, 1))).sum(axis=1)
    shown = softmax(3 * logits + [0, 1, -2], axis=1)
    fitted = metrics.fit_calibration(shown, labels)
    assert fitted.temperature == pytest.approx(3, rel=0.08)
    assert fitted.offsets == pytest.approx((0, -1 / 3, 2 / 3), abs=0.12)


def test_calibration_of_a_perfect_model_is_finite():
    fitted = metrics.fit_calibration([[0.9, 0.1], [0.2, 0.8]], [0, 1])
    assert 0.05 <= fitted.temperature < 0.3
    assert np.abs(fitted.offsets).max() <= 5


@without_deadline
@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.05, 20), st.floats(-5, 5))
def test_calibration_keeps_the_ranking_and_gives_probabilities(scores, temperature, offset):
    s = np.sort(scores)
    scaled = metrics.Calibration(temperature, (0.0, offset)).apply(np.column_stack([1 - s, s]))
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert (np.diff(scaled[:, 1]) >= -1e-15).all()


def test_calibration_refuses_what_it_cannot_fit():
    with pytest.raises(ValueError, match="at least one radiograph"):
        metrics.fit_calibration(np.empty((0, 2)), [])
    with pytest.raises(ValueError, match="from 0 to 1"):
        metrics.fit_calibration([[0.4, 0.6]], [2])


def test_mean_has_the_interval_of_the_patients_not_of_the_images():
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(60), 10)
    values = rng.normal(size=60)[patients]
    mean = metrics.mean(values, groups=patients)
    assert mean.value == pytest.approx(values.mean())
    error = values[::10].std() / np.sqrt(60)
    assert (mean.high - mean.low) / (2 * 1.96) == pytest.approx(error, rel=0.15)
    naive = metrics.mean(values)
    assert naive.high - naive.low < (mean.high - mean.low) / 2
    assert metrics.mean([0.5, np.nan, 0.7]).value == pytest.approx(0.6)

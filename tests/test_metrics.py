"""Metrics against scikit-learn, SciPy, published examples and literally resampled data."""

import doctest
import importlib
import json
import math
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, ndtr, softmax
from scipy.stats import binomtest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from cxrlib import metrics
from cxrlib.metrics.bootstrap import cluster_bootstrap

pytestmark = pytest.mark.filterwarnings("error")

# The machine may be busy training; being slow is no failure here.
without_deadline = settings(deadline=None)

MODULES = [name for _, name, _ in pkgutil.iter_modules(metrics.__path__)]


def cohort(seed=0, *, patients=60, each=4, separation=2.0, shared=0.7):
    """Labels, probabilities and patients; radiographs of one patient are alike.

    Scores are binormal with the given separation, so the true ROC-AUC is known. They take a
    hundred values, so that there are ties.
    """
    rng = np.random.default_rng(seed)
    label = rng.random(patients) < 0.5
    patient = np.repeat(np.arange(patients), each)
    own = rng.normal(size=patient.size) * np.sqrt(1 - shared)
    latent = separation * label[patient] + rng.normal(size=patients)[patient] * shared**0.5 + own
    return label[patient].astype(int), expit(latent - 1).round(2), patient


# Few distinct scores make ties and thresholds at scores common.
tied_scores = st.integers(0, 12).map(lambda k: k / 12)


@st.composite
def both_classes(draw):
    n = draw(st.integers(2, 30))
    y = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    s = draw(st.lists(tied_scores | st.floats(0, 1), min_size=n, max_size=n))
    assume(0 < sum(y) < n)
    return np.array(y), np.array(s)


# --- examples and import ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    result = doctest.testmod(importlib.import_module(f"cxrlib.metrics.{name}"))
    assert result.failed == 0


def test_import_is_light():
    heavy = "{'tensorflow', 'sklearn', 'pandas', 'matplotlib', 'scipy.stats', 'scipy.optimize'}"
    code = f"import sys, cxrlib.metrics; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


# --- proportions and the confusion matrix -------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_matches_published_values(successes, total, low, high):
    found = metrics.wilson(successes, total)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@without_deadline
@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_matches_scipy_and_stays_a_probability(counts):
    found = metrics.wilson(*counts)
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@without_deadline
@given(both_classes(), tied_scores)
def test_confusion_matches_scikit_learn(data, threshold):
    y, s = data
    called = (s >= threshold).astype(int)
    found = metrics.confusion(y, s, threshold)
    matrix = sk.confusion_matrix(y, called, labels=[0, 1]).ravel()
    assert (found.tn, found.fp, found.fn, found.tp) == tuple(matrix)
    assert found.accuracy == pytest.approx(sk.accuracy_score(y, called))
    assert found.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(y, called))
    assert found.sensitivity == pytest.approx(sk.recall_score(y, called))
    assert found.f1 == pytest.approx(sk.f1_score(y, called))
    if called.any() and not called.all():
        assert found.precision == pytest.approx(sk.precision_score(y, called))
        assert found.npv == pytest.approx(sk.precision_score(y, called, pos_label=0))
        assert found.mcc == pytest.approx(sk.matthews_corrcoef(y, called), abs=1e-12)
    else:  # scikit-learn calls 0 / 0 zero; here undefined stays undefined
        assert math.isnan(found.mcc)


def test_likelihood_ratios():
    found = metrics.Confusion(tp=90, fp=20, fn=10, tn=80)
    assert found.positive_likelihood_ratio == pytest.approx(0.9 / 0.2)
    assert found.negative_likelihood_ratio == pytest.approx(0.1 / 0.8)
    assert metrics.Confusion(5, 0, 5, 10).positive_likelihood_ratio == math.inf
    assert math.isnan(metrics.Confusion(0, 0, 0, 10).positive_likelihood_ratio)


# --- curves and areas ---------------------------------------------------------------------------


@without_deadline
@given(both_classes())
def test_curves_and_areas_match_scikit_learn(data):
    y, s = data
    assert metrics.roc_auc(y, s) == pytest.approx(sk.roc_auc_score(y, s))
    assert metrics.pr_auc(y, s) == pytest.approx(sk.average_precision_score(y, s))

    curve = metrics.roc(y, s)
    fpr, tpr, thresholds = sk.roc_curve(y, s, drop_intermediate=False)
    np.testing.assert_allclose(curve.fpr, fpr)
    np.testing.assert_allclose(curve.tpr, tpr)
    np.testing.assert_array_equal(curve.thresholds, thresholds)

    curve = metrics.precision_recall(y, s)
    precision, recall, thresholds = sk.precision_recall_curve(y, s)
    np.testing.assert_allclose(curve.precision, precision[::-1])
    np.testing.assert_allclose(curve.recall, recall[::-1])
    np.testing.assert_array_equal(curve.thresholds[1:], thresholds[::-1])


@without_deadline
@given(both_classes())
def test_areas_depend_on_the_order_of_scores_only(data):
    y, s = data
    ranks = np.unique(s, return_inverse=True)[1]
    assert metrics.roc_auc(y, 1000 * ranks - 5) == metrics.roc_auc(y, s)
    assert metrics.pr_auc(y, 1000 * ranks - 5) == metrics.pr_auc(y, s)
    assert metrics.roc_auc(1 - y, -s) == pytest.approx(metrics.roc_auc(y, s))


@pytest.mark.parametrize("band_of", [metrics.roc_band, metrics.precision_recall_band])
def test_band_holds_its_curve_and_widens_with_fewer_patients(band_of):
    y, s, patient = cohort(patients=120)
    band = band_of(y, s, groups=patient, replicates=200)
    if band_of is metrics.roc_band:
        curve = metrics.roc(y, s)
        drawn = np.interp(band.x, curve.fpr, curve.tpr)
    else:
        curve = metrics.precision_recall(y, s)
        drawn = curve.precision[np.searchsorted(curve.recall, band.x[1:])]
        drawn = np.append(drawn[0], drawn)
    inside = (band.low <= drawn + 1e-12) & (drawn <= band.high + 1e-12)
    assert inside.mean() > 0.95
    few = patient < 30
    wider = band_of(y[few], s[few], groups=patient[few], replicates=200)
    assert (wider.high - wider.low).mean() > 1.4 * (band.high - band.low).mean()


# --- bootstrap by patient -----------------------------------------------------------------------


def drawn_copies(n, patient, replicates, seed):
    """Row numbers of each replicate, every radiograph as often as its patient was drawn."""
    weights = cluster_bootstrap(lambda w: w, n, patient, replicates=replicates, seed=seed)
    return [np.repeat(np.arange(n), row.astype(int)) for row in weights]


def test_a_replicate_draws_whole_patients_as_many_as_there_are():
    rng = np.random.default_rng(1)
    patient = rng.choice(["a", "b", "c", "d", "e"], 40)
    weights = cluster_bootstrap(lambda w: w, 40, patient, replicates=3000, seed=3)
    per_patient = np.column_stack([weights[:, patient == name] for name in "abcde"])
    sizes = [np.count_nonzero(patient == name) for name in "abcde"]
    starts = np.cumsum([0, *sizes[:-1]])
    for start, size in zip(starts, sizes, strict=True):
        block = per_patient[:, start : start + size]
        assert (block == block[:, :1]).all()
    times = per_patient[:, starts]
    assert (times.sum(axis=1) == 5).all()
    # Multinomial: mean 1, variance 1 - 1/5.
    np.testing.assert_allclose(times.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(times.var(axis=0), 0.8, atol=0.12)


def test_summary_intervals_are_those_of_literally_resampled_radiographs():
    y, s, patient = cohort(2, patients=40)
    found = metrics.summarize(y, s, threshold=0.4, groups=patient, replicates=60, seed=5)

    def by_scikit_learn(rows):
        truth, score = y[rows], s[rows]
        called = score >= 0.4
        bins = np.clip(np.ceil(score * 15).astype(int), 1, 15)
        gaps = [abs((score - truth)[bins == b].sum()) for b in range(1, 16)]
        return {
            "f1": sk.f1_score(truth, called),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
            "mcc": sk.matthews_corrcoef(truth, called),
            "roc_auc": sk.roc_auc_score(truth, score),
            "pr_auc": sk.average_precision_score(truth, score),
            "brier": sk.brier_score_loss(truth, score),
            "ece": sum(gaps) / len(rows),
        }

    values = by_scikit_learn(np.arange(y.size))
    drawn = [by_scikit_learn(rows) for rows in drawn_copies(y.size, patient, 60, 5)]
    for name, value in values.items():
        assert found[name].value == pytest.approx(value), name
        low, high = np.quantile([replicate[name] for replicate in drawn], (0.025, 0.975))
        if name == "ece":
            low, high = max(0, 2 * value - high), 2 * value - low
        expected = (min(low, value), max(high, value))
        assert (found[name].low, found[name].high) == pytest.approx(expected), name
    confusion = metrics.confusion(y, s, 0.4)
    assert {k: found[k] for k in confusion.proportions()} == confusion.proportions()


def test_interval_by_patient_covers_the_true_area_and_by_picture_does_not():
    truth = ndtr(2.0 / math.sqrt(2))
    covered = {"patient": 0, "picture": 0}
    trials = 120
    for seed in range(trials):
        y, s, patient = cohort(seed, patients=120, each=5, shared=0.9)
        for unit, groups in (("patient", patient), ("picture", None)):
            auc = metrics.summarize(y, s, threshold=0.5, groups=groups, replicates=150)["roc_auc"]
            covered[unit] += auc.low <= truth <= auc.high
    assert covered["patient"] / trials > 0.87
    assert covered["picture"] / trials < 0.75


def test_summary_repeats_with_the_seed_and_holds_its_values():
    y, s, patient = cohort(3)
    one, again, other = (
        metrics.summarize(y, s, threshold=0.5, groups=patient, replicates=100, seed=seed)
        for seed in (7, 7, 8)
    )
    assert one == again
    assert one["roc_auc"].low != other["roc_auc"].low
    assert all(e.low <= e.value <= e.high for e in one.values())


# --- calibration --------------------------------------------------------------------------------


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


def test_calibration_bins_are_closed_above():
    on_edges = metrics.reliability([0, 1, 0, 1], [0.0, 0.5, 0.5, 1.0], bins=2)
    assert [point.count for point in on_edges] == [3, 1]


def overconfident(factor, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    true_logit = rng.normal(0, 2, n)
    y = (rng.random(n) < expit(true_logit)).astype(int)
    return y, expit(factor * true_logit)


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


def test_mean_has_the_interval_of_the_patients_not_of_the_pictures():
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


# --- operating points and verdicts --------------------------------------------------------------


def best_thresholds(y, s):
    """Operating points by trying every threshold there is, one for each set of positive calls."""
    levels = np.append(np.unique(s)[::-1], 0.0)
    best = {}
    cuts = [metrics.confusion(y, s, level) for level in levels[:-1]]
    youden = [(c.tp * (c.tn + c.fp) + c.tn * (c.tp + c.fn), i) for i, c in enumerate(cuts)]
    best["youden"] = max(youden)[1]
    for target in (95, 99):
        reached = [i for i, c in enumerate(cuts) if 100 * c.tp >= target * (c.tp + c.fn)]
        best[f"sensitivity_{target}"] = min(reached)
    return {name: (levels[i], (levels[i] + levels[i + 1]) / 2) for name, i in best.items()}


@without_deadline
@given(both_classes())
def test_operating_points_match_an_exhaustive_search(data):
    y, s = data
    found = metrics.operating_points(y, s, replicates=20)
    assert tuple(found) == metrics.OPERATING_POINTS
    for name, (lowest_called, midway) in best_thresholds(y, s).items():
        point = found[name]
        assert point.name == name
        assert point.threshold == pytest.approx(midway)
        np.testing.assert_array_equal(s >= point.threshold, s >= lowest_called)
        assert point.low <= point.threshold <= point.high
    fixed = found["fixed_50"]
    assert (fixed.threshold, fixed.low, fixed.high) == (0.5, 0.5, 0.5)


def test_operating_point_intervals_are_those_of_literally_resampled_radiographs():
    y, s, patient = cohort(6, patients=40)
    found = metrics.operating_points(y, s, groups=patient, replicates=50, seed=2)
    drawn = [best_thresholds(y[rows], s[rows]) for rows in drawn_copies(y.size, patient, 50, 2)]
    for name in ("youden", "sensitivity_95", "sensitivity_99"):
        low, high = np.quantile([replicate[name][1] for replicate in drawn], (0.025, 0.975))
        assert found[name].low == pytest.approx(min(low, found[name].threshold))
        assert found[name].high == pytest.approx(max(high, found[name].threshold))


def test_sensitive_point_reaches_its_target_exactly_at_the_boundary():
    # 19 of 20 is 0.95: one positive may be missed, not two.
    y = np.array([1] * 20 + [0] * 5)
    s = np.concatenate([np.linspace(0.5, 0.9, 20), np.linspace(0.05, 0.2, 5)])
    threshold = metrics.operating_points(y, s, replicates=10)["sensitivity_95"].threshold
    assert metrics.confusion(y, s, threshold).tp == 19


def test_scores_next_to_each_other_are_still_told_apart():
    just_above = np.nextafter(0.3, 1)
    points = metrics.operating_points([0, 0, 1, 1], [0.3, 0.3, just_above, just_above])
    assert metrics.confusion([0, 1], [0.3, just_above], points["youden"].threshold).accuracy == 1


@pytest.mark.parametrize("y", [[], [0, 0, 0], [1, 1, 1]])
def test_operating_points_need_both_classes(y):
    with pytest.raises(ValueError, match="both classes"):
        metrics.operating_points(y, [0.5] * len(y))


def test_operating_points_need_two_patients():
    with pytest.raises(ValueError, match="two patients"):
        metrics.operating_points([0, 1], [0.2, 0.8], groups=["same", "same"])


@without_deadline
@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_verdict_never_contradicts_the_threshold(probability, ends):
    low, threshold, high = sorted(ends)
    word = metrics.verdict(probability, metrics.OperatingPoint("p", threshold, low, high))
    if word == "uncertain":
        assert low <= probability <= high
    else:
        assert (word == "likely") == (probability >= threshold)


def test_verdict_of_no_number_is_uncertain():
    point = metrics.OperatingPoint("fixed_50", 0.5, 0.5, 0.5)
    assert metrics.verdict(math.nan, point) == "uncertain"


# --- comparison of two models -------------------------------------------------------------------

# Ovarian cancer data of DeLong et al. (1988) as in the SAS/STAT User's Guide, "Comparing Receiver
# Operating Characteristic Curves": albumin, total protein, 10 minus the K-G score, and outcome.
ALBUMIN = """3.0 3.2 3.9 2.8 3.2 0.9 2.5 1.6 3.8 3.7 3.2 3.8 4.1 3.6 4.3 3.6 2.3 4.2 4.0 3.5 3.8 3.0
    4.5 3.7 3.1 4.1 4.3 4.3 3.2 2.6 3.3 1.7 3.7 3.3 4.2 3.5 2.9 2.1 2.8 4.0 3.3 3.7 3.6"""
PROTEIN = """5.8 6.3 6.8 4.8 5.8 4.0 5.7 5.6 5.7 6.7 5.4 6.6 6.6 5.7 7.0 6.7 4.4 7.6 6.6 5.8 6.8 4.7
    7.4 7.4 6.6 8.2 7.0 6.5 5.1 4.7 6.8 4.0 6.1 6.3 7.7 6.2 5.7 4.8 6.2 7.0 5.7 6.9 6.6"""
K_G_SCORE = (
    """0 5 7 4 7 5 2 5 5 4 6 4 5 5 6 6 4 6 4 4 3 2 5 5 4 4 5 6 5 4 4 3 5 3 4 5 1 3 2 3 4 5 5"""
)
OUTCOME = "0110100111111110100110111111110011110101111"


@pytest.mark.parametrize(
    ("other", "difference", "error", "chi_square", "p_value"),
    [
        (ALBUMIN, 0.0108, 0.0953, 0.0127, 0.9102),
        (PROTEIN, -0.0780, 0.1046, 0.5554, 0.4561),
    ],
    ids=["albumin", "protein"],
)
def test_delong_matches_the_published_example(other, difference, error, chi_square, p_value):
    y, reference = [int(c) for c in OUTCOME], np.array(K_G_SCORE.split(), float)
    found = metrics.delong_test(y, np.array(other.split(), float), reference)
    assert round(found.difference.value, 4) == difference
    half = (found.difference.high - found.difference.low) / 2
    assert round(half / 1.959964, 4) == error
    assert round((found.difference.value * 1.959964 / half) ** 2, 4) == chi_square
    assert round(found.p_value, 4) == p_value


def test_delong_by_patient_agrees_with_the_bootstrap_by_patient():
    y, a, patient = cohort(8, patients=150)
    b = expit(logit(np.clip(a, 0.01, 0.99)) + np.random.default_rng(0).normal(0, 1.5, 150)[patient])
    found = metrics.delong_test(y, a, b, groups=patient)
    drawn = [
        metrics.roc_auc(y[rows], a[rows]) - metrics.roc_auc(y[rows], b[rows])
        for rows in drawn_copies(y.size, patient, 600, 0)
    ]
    error = (found.difference.high - found.difference.low) / (2 * 1.96)
    assert error == pytest.approx(np.std(drawn), rel=0.12)
    assert found.difference.value == pytest.approx(sk.roc_auc_score(y, a) - sk.roc_auc_score(y, b))
    naive = metrics.delong_test(y, a, b)
    assert naive.p_value < found.p_value


@without_deadline
@given(both_classes())
def test_delong_with_a_patient_each_is_the_plain_test_and_antisymmetric(data):
    y, a = data
    b = a[::-1]
    forward, back = metrics.delong_test(y, a, b), metrics.delong_test(y, b, a)
    each = metrics.delong_test(y, a, b, groups=np.arange(y.size))
    assert str(each) == str(forward)
    if min(y.sum(), (1 - y).sum()) < 2:
        assert math.isnan(forward.p_value)
    else:
        assert back.difference.value == pytest.approx(-forward.difference.value)
        assert back.p_value == pytest.approx(forward.p_value)


def test_delong_of_models_that_rank_alike():
    y, s, patient = cohort(9)
    found = metrics.delong_test(y, s, s**3, groups=patient)
    assert (found.difference, found.p_value) == (metrics.Estimate(0.0, 0.0, 0.0), 1.0)


@without_deadline
@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=60))
def test_mcnemar_is_the_binomial_test_of_the_disagreements(rows):
    y, a, b = np.array(rows).T
    found = metrics.mcnemar_test(y, a, b)
    disagreements = found.only_a + found.only_b
    assert disagreements == np.count_nonzero(a != b)
    assert found.only_a - found.only_b == (a == y).sum() - (b == y).sum()
    expected = binomtest(found.only_a, disagreements).pvalue if disagreements else 1.0
    assert found.p_value == pytest.approx(expected)


# --- what is undefined, and what is refused -----------------------------------------------------

UNDEFINED = {
    "no normals": ([1, 1, 1], [0.2, 0.6, 0.9], {"specificity", "balanced_accuracy", "roc_auc"}),
    "no pneumonia": (
        [0, 0, 0],
        [0.2, 0.6, 0.9],
        {"sensitivity", "balanced_accuracy", "roc_auc", "pr_auc"},
    ),
    "nothing called": ([0, 1, 1], [0.1, 0.2, 0.3], {"precision", "mcc"}),
    "constant": ([0, 1, 0, 1], [0.7, 0.7, 0.7, 0.7], {"npv", "mcc"}),
    "empty": ([], [], None),
}


@pytest.mark.parametrize("case", UNDEFINED)
def test_undefined_numbers_are_nan_and_survive_json(case):
    y, s, undefined = UNDEFINED[case]
    summary = metrics.summarize(y, s, threshold=0.5, replicates=50)
    if undefined is None:
        undefined = set(summary)
    found = {name for name, estimate in summary.items() if math.isnan(estimate.value)}
    assert undefined <= found <= undefined | {"mcc"}
    text = json.dumps(metrics.summary_to_json(summary), allow_nan=False)
    back = metrics.summary_from_json(json.loads(text))
    assert {name: str(e) for name, e in back.items()} == {n: str(e) for n, e in summary.items()}
    metrics.roc(y, s)
    metrics.precision_recall(y, s)
    assert len(metrics.roc_band(y, s, replicates=20).low) == 201
    assert len(metrics.precision_recall_band(y, s, replicates=20).low) == 201
    metrics.reliability(y, s)


def test_constant_scores_tell_nothing_apart():
    assert metrics.roc_auc([0, 1, 0, 1], [0.7] * 4) == 0.5
    assert metrics.pr_auc([0, 1, 0, 1], [0.7] * 4) == 0.5


def test_one_patient_has_values_but_no_bootstrap_interval():
    found = metrics.summarize([0, 1, 1], [0.2, 0.4, 0.9], threshold=0.5, groups=["a"] * 3)
    assert found["roc_auc"].value == 1.0
    assert math.isnan(found["roc_auc"].low) and math.isnan(found["ece"].low)
    assert str(found["roc_auc"]) == "1.00 (no interval)"


@pytest.mark.parametrize(
    ("y", "s", "groups", "message"),
    [
        ([0, 2], [0.1, 0.2], None, "found 2"),
        ([[0, 1]], [0.1, 0.2], None, "one list"),
        ([0, 1], [0.1], None, "one score for each radiograph"),
        ([0, 1], [0.1, math.nan], None, "1 of 2 scores are not finite"),
        ([0, 1], [-3.0, 2.5], None, "apply a sigmoid"),
        ([0, 1], [0.1, 0.2], ["a"], "patient of each radiograph"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_a_remedy(y, s, groups, message):
    with pytest.raises(ValueError, match=message):
        metrics.summarize(y, s, threshold=0.5, groups=groups)


def test_calls_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="same radiographs"):
        metrics.mcnemar_test([0, 1], [0, 1], [0])

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
from hypothesis import given
from hypothesis import strategies as st
from made_readings import both_classes, cohort, drawn_copies, tied_scores, without_deadline
from scipy.special import ndtr
from scipy.stats import binomtest
from sklearn import metrics as sk

from cxrlib import metrics
from cxrlib.metrics.bootstrap import cluster_bootstrap

pytestmark = pytest.mark.filterwarnings("error")


MODULES = [name for _, name, _ in pkgutil.iter_modules(metrics.__path__)]


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
            "log_loss": sk.log_loss(truth, score, labels=[0, 1]),
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


@pytest.mark.slow
def test_interval_by_patient_covers_the_true_area_and_by_image_does_not():
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
    assert "no interval" in str(found["roc_auc"])


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

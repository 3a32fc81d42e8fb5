"""Two models on the same radiographs: published examples as oracles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_readings import both_classes, cohort, drawn_copies, without_deadline
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn import metrics as sk

from cxrlib import metrics

pytestmark = pytest.mark.filterwarnings("error")


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


def obuchowski(y, score_a, score_b, patient):
    """Difference of the areas and its variance, pair by pair (Obuchowski, Biometrics 1997)."""

    def ranked_rightly(score):
        above, below = score[y == 1][:, None], score[y == 0][None]
        return (above > below) + 0.5 * (above == below)

    kernel = ranked_rightly(score_a) - ranked_rightly(score_b)
    difference = kernel.mean()
    positives, negatives = kernel.shape
    of_positives, of_negatives = patient[y == 1], patient[y == 0]
    patients = np.unique(patient)
    x = np.array([(kernel.mean(axis=1)[of_positives == p] - difference).sum() for p in patients])
    z = np.array([(kernel.mean(axis=0)[of_negatives == p] - difference).sum() for p in patients])
    with_positives, with_negatives = len(set(of_positives)), len(set(of_negatives))
    s10 = with_positives / ((with_positives - 1) * positives) * (x @ x)
    s01 = with_negatives / ((with_negatives - 1) * negatives) * (z @ z)
    s11 = len(patients) / (len(patients) - 1) * (x @ z)
    variance = s10 / positives + s01 / negatives + 2 * s11 / (positives * negatives)
    return difference, variance


def test_delong_with_patients_of_both_classes_is_obuchowskis():
    # Radiographs of one patient before and after recovery: their errors go together.
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(80), 4)
    y = (rng.random(patient.size) < 0.4).astype(int)
    own = rng.normal(size=80)[patient]
    a = expit(1.5 * y + 2 * own + 0.5 * rng.normal(size=y.size))
    b = expit(1.2 * y + rng.normal(size=y.size))
    found = metrics.delong_test(y, a, b, groups=patient)
    difference, variance = obuchowski(y, a, b, patient)
    assert found.difference.value == pytest.approx(difference)
    half = (found.difference.high - found.difference.low) / 2
    assert half == pytest.approx(1.959964 * np.sqrt(variance), rel=1e-5)


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

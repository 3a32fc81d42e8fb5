"""Operating points and verdicts: an exhaustive search as oracle."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_readings import both_classes, cohort, drawn_copies, without_deadline

from cxrlib import metrics

pytestmark = pytest.mark.filterwarnings("error")


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


def test_the_interval_holds_its_ends():
    point = metrics.OperatingPoint("p", 0.5, 0.4, 0.6)
    assert metrics.verdict(0.4, point) == metrics.verdict(0.6, point) == "uncertain"
    assert metrics.verdict(math.nextafter(0.6, 1), point) == "likely"
    assert metrics.verdict(math.nextafter(0.4, 0), point) == "unlikely"


def test_verdict_of_no_number_is_uncertain():
    point = metrics.OperatingPoint("fixed_50", 0.5, 0.5, 0.5)
    assert metrics.verdict(math.nan, point) == "uncertain"

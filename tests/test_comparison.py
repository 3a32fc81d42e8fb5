"""Runs measured, taken apart, compared, put together and reported."""

import base64
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from made_runs import make_run, make_runs, pictures

from cxrlib import metrics, runs
from cxrlib.evaluation import compare_runs, html_report, judge, subgroups
from cxrlib.evaluation.compare_runs import ComparisonError
from cxrlib.evaluation.run_on_split import FALSE_NEGATIVE, FALSE_POSITIVE, Curves, Measured
from cxrlib.formatting import setting
from cxrlib.runs import records

POINT = "youden"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_runs(folder, pictures())
    return folder


@pytest.fixture(scope="module")
def readings(models):
    return [
        Measured(runs.find(name, models=models), "test") for name in ("good", "plain", "partial")
    ]


# --- one run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "split"), [(None, "validation"), ("good", "validation"), ("good", "test")]
)
def test_what_is_shown_is_what_evaluate_measures(models, name, split):
    """`python -m cxrlib evaluate` prints `judge.measure`; the page shows metrics.json."""
    run = runs.find(name, models=models) if name else runs.find(runs.SHIPPED)
    measured = Measured(run, split)
    again = judge.measure(measured.predictions, measured.points)
    assert measured.counts == {name: again[name] for name in measured.counts}
    for point in measured.points:
        found = metrics.summary_from_json(again["points"][point])
        for metric, estimate in measured.estimates(point).items():
            # predictions.csv keeps seven digits.
            assert list(vars(estimate).values()) == pytest.approx(
                list(vars(found[metric]).values()), abs=1e-5, nan_ok=True
            )
        table = measured.table(point).set_index("metric")
        assert table.loc["ROC-AUC", "value"] == measured.estimates(point)["roc_auc"].value
        assert len(table) == len(found)
        matrix = measured.confusion(measured.points[point].threshold)
        assert matrix.sensitivity == pytest.approx(found["sensitivity"].value)
        assert matrix.specificity == pytest.approx(found["specificity"].value)


def test_errors_are_those_of_the_confusion_matrix_and_the_worst_comes_first(readings):
    measured = readings[1]
    threshold = measured.points[POINT].threshold
    matrix = measured.confusion(threshold)
    errors = measured.errors(threshold)
    assert errors.kind.tolist() == [FALSE_NEGATIVE] * matrix.fn + [FALSE_POSITIVE] * matrix.fp
    missed, alarms = (errors[errors.kind == kind] for kind in (FALSE_NEGATIVE, FALSE_POSITIVE))
    assert set(missed.label) == {"PNEUMONIA"} and set(alarms.label) == {"NORMAL"}
    assert missed.probability.is_monotonic_increasing
    assert alarms.probability.is_monotonic_decreasing
    assert missed.probability.max() < threshold <= alarms.probability.min()


def test_a_split_that_was_not_measured_is_named(tmp_path):
    run = make_run(tmp_path, "short", pictures().query("split == 'validation'"))
    with pytest.raises(runs.RunError, match="short was not measured on the test images"):
        Measured(run, "test")


def test_curves_of_several_runs_are_overlaid(readings):
    curves = Curves(readings, POINT)
    roc, recall = curves.roc_figure(), curves.precision_recall_figure()
    for figure in (roc, recall):
        names = [text.get_text() for text in figure.legends[0].get_texts()]
        assert names == ["good", "plain", "partial"]


# --- subgroups ------------------------------------------------------------------------------------


def test_subtypes_are_measured_beside_the_same_normal_images(readings):
    table, threshold = readings[0].predictions, readings[0].points[POINT].threshold
    found = subgroups.by_subtype(table, threshold)
    normal, viral = table[table.label == "NORMAL"], table[table.subtype == "viral"]
    group = found["viral against normal"]
    assert (group.pictures, group.pneumonia) == (len(normal) + len(viral), len(viral))
    assert group.sensitivity.value == (viral.probability >= threshold).mean()
    assert group.specificity == found["all"].specificity
    assert group.roc_auc.value == pytest.approx(
        np.mean(viral.probability.to_numpy()[:, None] > normal.probability.to_numpy())
    )


def test_thirds_hold_every_image_once(readings):
    table = readings[0].predictions
    values = pd.Series(np.random.default_rng(0).integers(100, 200, len(table)))
    found = subgroups.by_thirds(table, values, "height", 0.5)
    assert len(found) == 3
    assert sum(group.pictures for group in found.values()) == len(table)
    low, high = (float(np.quantile(values, share)) for share in (1 / 3, 2 / 3))
    assert list(found) == [
        f"height below {low:.0f}",
        f"height {low:.0f} to {high:.0f}",
        f"height {high:.0f} and more",
    ]
    assert found[f"height below {low:.0f}"].pictures == (values < low).sum()


def test_what_is_the_same_for_all_makes_no_groups(readings):
    table = readings[0].predictions
    assert subgroups.by_thirds(table, pd.Series(224, index=table.index), "height", 0.5) == {}


def test_a_subgroup_of_one_class_says_what_is_undefined(readings):
    ill = readings[0].predictions.query("label == 'PNEUMONIA'")
    table = subgroups.as_table({"ill": subgroups.subgroup(ill, 0.5)})
    assert table.loc[0, "specificity"] == table.loc[0, "ROC-AUC"] == "undefined"


# --- several runs ---------------------------------------------------------------------------------


def test_run_table_has_settings_and_numbers_to_sort_by(readings):
    table = compare_runs.run_table(readings, POINT).set_index("run")
    assert table.augmentation.to_dict() == {"good": "strong", "plain": "none", "partial": "strong"}
    assert set(table.split) == {f"{setting(0.15)}, seed 0"}
    assert table.pictures.to_dict() == {"good": 120, "plain": 120, "partial": 96}
    for reading in readings:
        estimate = reading.estimates(POINT)["roc_auc"]
        assert table.roc_auc[reading.run.name] == estimate.value
        low, high = map(float, table["roc_auc interval"][reading.run.name].split("–"))
        assert (low, high) == pytest.approx((estimate.low, estimate.high), abs=5e-4)


def test_only_settings_that_differ_are_listed(readings):
    found = compare_runs.configuration_differences([item.run for item in readings[:2]])
    assert found.to_dict("index") == {
        "augmentation": {"good": "strong", "plain": "none"},
        "imbalance": {"good": "class weights", "plain": "none"},
    }


def test_settings_that_an_older_run_did_not_know_are_listed(models, tmp_path):
    run = make_run(tmp_path, "older", pictures(), fine_tune_depth=3)
    settings = {name: value for name, value in run.config.items() if name != "seed"}
    run.save_config(json.dumps(settings))
    found = compare_runs.configuration_differences([runs.find("good", models=models), run])
    assert found.loc["fine tune depth"].to_dict() == {"good": "all", "older": "3"}
    assert found.loc["seed"].to_dict() == {"good": "0", "older": "not set"}


def test_paired_tests_are_on_the_images_that_both_have(readings):
    good, _, partial = readings
    found = compare_runs.paired(good, partial, POINT)
    a = good.predictions.set_index("path")
    b = partial.predictions.sample(frac=1, random_state=0).set_index("path")
    a = a.loc[b.index]
    truth = a.label == "PNEUMONIA"
    assert found.pictures == len(b) == 96
    assert found.auc == metrics.delong_test(truth, a.probability, b.probability, groups=a.patient)
    assert found.calls == metrics.mcnemar_test(
        truth,
        a.probability >= good.points[POINT].threshold,
        b.probability >= partial.points[POINT].threshold,
    )


def test_opposite_changes_in_the_two_classes_do_not_cancel():
    """One run detects ten pneumonias more, and raises ten false alarms more, than the other."""
    table = pictures()
    truth = (table.label == "PNEUMONIA").to_numpy()
    changed = np.concatenate([np.flatnonzero(truth)[:10], np.flatnonzero(~truth)[:10]])
    cautious = np.where(truth, 0.9, 0.1)
    cautious[changed] = 0.1
    eager = np.where(truth, 0.9, 0.1)
    eager[changed] = 0.9
    points = {POINT: metrics.OperatingPoint(POINT, 0.5, 0.5, 0.5)}

    def reading(name: str, probability: np.ndarray) -> SimpleNamespace:
        predictions = table.assign(probability=probability)
        return SimpleNamespace(
            predictions=predictions, points=points, metrics={}, run=SimpleNamespace(name=name)
        )

    found = compare_runs.paired(reading("eager", eager), reading("cautious", cautious), POINT)
    assert found.calls.p_value == 1
    # Ten against none, two-sided: 2 / 2**10.
    assert (found.sensitivity.only_a, found.sensitivity.only_b) == (10, 0)
    assert (found.specificity.only_a, found.specificity.only_b) == (0, 10)
    assert found.sensitivity.p_value == found.specificity.p_value == 2 / 2**10


def test_runs_without_common_images_cannot_be_compared(readings, tmp_path):
    table = pictures()
    run = make_run(tmp_path, "elsewhere", table.assign(path="x/" + table.path))
    other = Measured(run, "test")
    with pytest.raises(ComparisonError, match="no image in common"):
        compare_runs.paired(readings[0], other, POINT)
    with pytest.raises(ComparisonError, match="Too few images"):
        compare_runs.ensemble_table([readings[0], other], POINT)


def test_ensemble_averages_probabilities_and_is_judged_anew(readings):
    members = {item.run.name: item.run.predictions for item in readings}
    predictions, found = compare_runs.ensemble(members)
    by_path = [table.set_index("path").probability for table in members.values()]
    mean = pd.concat(by_path, axis=1, join="inner").mean(axis=1)
    assert predictions.set_index("path").score.to_dict() == pytest.approx(mean.to_dict())
    # It is a run's predictions and metrics, and its operating point is chosen on validation.
    validation = predictions[predictions.split == "validation"]
    chosen = metrics.operating_points(
        validation.label == "PNEUMONIA", validation.probability, groups=validation.patient
    )
    assert records.read_points(found) == chosen
    assert set(found) == set(readings[0].metrics)


def test_two_independent_runs_are_better_together(tmp_path):
    table = pictures(1200)
    members = [
        Measured(make_run(tmp_path, name, table, separation=2), "test") for name in ("a", "bb")
    ]
    shown = compare_runs.ensemble_table(members, POINT)
    together, *alone = shown.roc_auc
    # Binormal scores: the mean of two independent ones lies further apart by the root of two.
    assert together > max(alone) + 0.03
    assert shown.run.tolist() == ["mean of these runs", "a", "bb"]
    assert set(shown.pictures) == {600}


# --- the report -----------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.tags, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text.append(data)


def test_report_holds_figures_tables_and_card_in_one_file(readings):
    measured = readings[0]
    page = Page(html_report.html(measured, POINT, prevalence=0.1))
    # Nothing is fetched from elsewhere.
    assert page.sources and all(source.startswith("data:image/svg+xml") for source in page.sources)
    for source in page.sources:
        ElementTree.fromstring(base64.b64decode(source.partition(",")[2]))
    text = " ".join(page.text)
    for title in ("ROC", "Precision–recall", "Confusion matrix", "Calibration", "1,000 patients"):
        assert title in text
    assert f"{measured.estimates(POINT)['roc_auc'].value:.3f}" in text
    assert "Model card" in text and "not for diagnosis" in text
    for path in measured.errors(measured.points[POINT].threshold).path:
        assert path in text


def test_report_shows_a_stranger_s_names_as_text(tmp_path):
    table = pictures()
    table["path"] = table.path + "<script>alert(1)</script>"
    run = make_run(tmp_path, "strange", table, separation=0.5)
    (run.folder / "card.md").write_text("# Card\n<img src=x onerror=alert(1)>", encoding="utf-8")
    page = Page(html_report.html(Measured(run, "test"), POINT, prevalence=0.1))
    assert "script" not in page.tags
    assert all(source.startswith("data:") for source in page.sources)
    assert re.search(r"<script>alert\(1\)</script>", "".join(page.text))


def test_report_shows_the_name_of_a_run_as_text(tmp_path):
    # A copied folder may have any name.
    name = "a<img src=x onerror=alert(1)>&b"
    folder = make_run(tmp_path, "plain", pictures()).folder.rename(tmp_path / name)
    text = html_report.html(Measured(runs.Run(folder), "test"), POINT, prevalence=0.1)
    page = Page(text)
    assert "x" not in page.sources
    assert name in "".join(page.text)
    assert "<img src=x" not in text  # in the title too, where a parser sees no tags


def test_report_of_one_class_is_written_all_the_same(tmp_path):
    table = pictures().query("split == 'validation' or label == 'PNEUMONIA'")
    measured = Measured(make_run(tmp_path, "ill", table), "test")
    text = html_report.html(measured, POINT, prevalence=0.1)
    assert "undefined" in text
    assert "1,000 patients" not in text


def test_an_image_in_a_card_is_not_fetched_by_the_report(tmp_path):
    run = make_run(tmp_path, "foreign", pictures())
    run.save_card("![track](https://example.org/pixel.png)")
    text = html_report.html(Measured(run, "test"), POINT, prevalence=0.1)
    assert 'src="https' not in text

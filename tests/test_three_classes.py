"""Three classes: which is taken for which, against scikit-learn."""

import json

import numpy as np
import pytest
from made_runs import make_run, make_three_class_run, pictures
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from cxrlib.evaluation import html_report, three_classes, trust
from cxrlib.evaluation.run_on_split import Measured


@pytest.fixture(scope="module")
def table():
    table = pictures()
    # One whose name does not tell the subtype.
    table.loc[table.index[-1], ["label", "subtype"]] = "PNEUMONIA", ""
    return table


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return make_three_class_run(tmp_path_factory.mktemp("models"), "three", table)


def test_counts_and_area_are_scikit_learns(run):
    measured = Measured(run, "test")
    rows = measured.predictions
    rows = rows[(rows.label == "NORMAL") | rows.subtype.isin(["bacterial", "viral"])]
    truth = rows.subtype.where(rows.label == "PNEUMONIA", "normal")
    called = rows[list(three_classes.NAMES)].idxmax(axis=1)
    found = measured.by_class
    assert np.array_equal(found.counts, confusion_matrix(truth, called, labels=three_classes.NAMES))
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, called))
    assert found.unknown == 1
    ill = rows[rows.label == "PNEUMONIA"]
    share = ill.bacterial / (ill.bacterial + ill.viral)
    area = roc_auc_score(ill.subtype == "bacterial", share)
    assert found.bacterial.value == pytest.approx(area)
    assert found.bacterial.low < area < found.bacterial.high


def test_they_are_kept_with_the_run_and_told_by_card_and_report(run):
    stored = json.loads((run.folder / "metrics.json").read_text("utf-8"))
    found = three_classes.read(stored["splits"]["test"])
    assert found.sentence() in run.card
    assert "the right class" in trust.statement(stored, "youden", 0.9)
    row = found.table().iloc[1]
    assert f"| bacterial | {row['called normal']} | {row['called bacterial']} |" in run.card
    report = html_report.html(Measured(run, "test"), "youden", prevalence=0.1)
    assert found.sentence() in report and "called viral" in report


def test_normal_images_alone_leave_the_rest_undefined(table):
    normal = table[table.label == "NORMAL"].assign(
        probability=0.1, score=0.1, normal=0.9, bacterial=0.06, viral=0.04
    )
    found = three_classes.by_class(normal)
    assert found.counts.sum() == found.counts[0, 0] == len(normal)
    assert np.isnan(found.bacterial.value)
    assert "undefined" in found.table().recognized[1]


def test_a_run_of_two_classes_has_none(tmp_path):
    assert Measured(make_run(tmp_path, "two", pictures()), "test").by_class is None

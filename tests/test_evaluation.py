"""A run's numbers: chosen on validation only, the same from page and command line."""

from pathlib import Path

import made_runs
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrlib import metrics, runs
from cxrlib.evaluation import judge, trust
from cxrlib.formatting import percent, rate
from cxrlib.runs import ensembles, records


def outputs(seed: int = 0, pictures: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    ill = rng.random(pictures) < 0.7
    table = pd.DataFrame(
        {
            "split": np.where(np.arange(pictures) % 2, "validation", "test"),
            "path": [f"train/{number}.jpeg" for number in range(pictures)],
            "label": np.where(ill, "PNEUMONIA", "NORMAL"),
            "subtype": np.where(
                ill, np.where(rng.random(pictures) < 0.5, "viral", "bacterial"), ""
            ),
            "patient": [f"person{number // 3}" for number in range(pictures)],
        }
    )
    odds = 6 * (rng.normal(size=pictures) + np.where(ill, 1.2, -1.2))  # 2.5 times too sure
    probability = 1 / (1 + np.exp(-odds))
    return table, np.column_stack([1 - probability, probability])


def test_what_is_chosen_does_not_look_at_the_test_images() -> None:
    table, distribution = outputs()
    _, found = judge.evaluate(table, distribution, ["NORMAL", "PNEUMONIA"])
    spoilt = distribution.copy()
    is_test = (table.split == "test").to_numpy()
    spoilt[is_test] = spoilt[is_test][:, ::-1]
    _, again = judge.evaluate(table, spoilt, ["NORMAL", "PNEUMONIA"])
    assert again["calibration"] == found["calibration"]
    assert again["operating_points"] == found["operating_points"]
    assert again["splits"]["validation"] == found["splits"]["validation"]
    assert again["splits"]["test"] != found["splits"]["test"]


def test_calibration_cures_overconfidence_and_keeps_the_ranking() -> None:
    table, distribution = outputs(pictures=2000)
    predictions, found = judge.evaluate(table, distribution, ["NORMAL", "PNEUMONIA"])
    assert found["calibration"]["temperature"] == pytest.approx(2.5, rel=0.2)
    for split, rows in predictions.groupby("split"):
        truth = rows.label == "PNEUMONIA"
        measured = found["splits"][split]
        summary = records.estimates(found, split, "youden")
        assert summary["ece"].value < measured["ece_uncalibrated"]
        assert summary["roc_auc"].value == pytest.approx(roc_auc_score(truth, rows.score))


def test_three_classes_score_is_everything_but_normal() -> None:
    table, _ = outputs()
    rng = np.random.default_rng(1)
    distribution = rng.dirichlet([1, 1, 1], len(table))
    names = ["NORMAL", "BACTERIAL", "VIRAL"]
    predictions, found = judge.evaluate(table, distribution, names)
    assert found["classes"] == names
    np.testing.assert_allclose(predictions.score, distribution[:, 1:].sum(axis=1))
    np.testing.assert_allclose(predictions.probability, predictions.bacterial + predictions.viral)
    numbers = judge.class_numbers(table, names)
    assert (table.subtype[numbers == 2] == "viral").all()


def test_shipped_run_is_whole_and_its_metrics_follow_from_its_predictions() -> None:
    run = runs.find(runs.SHIPPED)
    networks = ensembles.networks(run)
    assert sum(member.onnx_file.stat().st_size for member in networks) <= 40 * 2**20
    stored = run.metrics
    points = records.read_points(stored)
    for split, rows in run.predictions.groupby("split"):
        measured = judge.measure(rows, points)
        for name in points:
            for metric, value in measured["points"][name].items():
                assert value["value"] == pytest.approx(
                    stored["splits"][split]["points"][name][metric]["value"], abs=1e-4
                ), (split, name, metric)
    assert records.estimates(stored, "validation", "youden")["roc_auc"].value >= 0.99
    auc = records.estimates(stored, "validation", stored["default_point"])["roc_auc"]
    assert f"| ROC-AUC | {auc} |" in run.card


def test_trust_says_what_was_and_was_not_measured() -> None:
    table, distribution = outputs()
    only_validation = (table.split == "validation").to_numpy()
    _, found = judge.evaluate(
        table[only_validation], distribution[only_validation], ["NORMAL", "PNEUMONIA"]
    )
    text = trust.statement(found, "youden", 0.9)
    assert "200 validation images" in text
    assert "not been measured on test images" in text
    assert "children" not in text
    of_kaggle = trust.statement(found | {"trained_on": "kaggle"}, "youden", 0.9)
    assert "not been measured on official test images" in of_kaggle
    assert "children at one hospital" in of_kaggle
    assert "optimistic" in text
    validation = found["splits"]["validation"]
    share = validation["pneumonia"] / validation["pictures"]
    rarer = metrics.at_prevalence(0.9, share, 0.1)
    assert percent(rarer) in text
    sensitivity = records.estimates(found, "validation", "youden")["sensitivity"]
    assert rate(sensitivity) in text


def test_what_was_held_out_is_remembered_and_not_drawn_anew(tmp_path: Path) -> None:
    table = made_runs.pictures()
    run = made_runs.make_run(tmp_path, "run", table)
    more = pd.concat([table, table.iloc[:1].assign(path="train/NORMAL/new.jpeg")])
    held_out = records.held_out(run, more)
    assert list(more.path[held_out]) == list(table.path[table.split == "validation"])
    with pytest.raises(runs.RunError, match="1 are not in this folder"):
        records.held_out(run, table.drop(index=3))

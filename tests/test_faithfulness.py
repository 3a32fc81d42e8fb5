"""Heatmaps put to the test, where the right answer is known."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxrlib import metrics, runs
from cxrlib.__main__ import main
from cxrlib.evaluation import faithfulness
from cxrlib.inference import methods
from cxrlib.inference.classifier import Classifier
from cxrlib.inference.explain import Explanation
from cxrlib.networks.loading import load_network
from cxrlib.synthetic import phantom
from cxrlib.training import export

UNSEEN = range(6000, 6006)
DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (45, 45))


@pytest.fixture(scope="module")
def drawn() -> list[phantom.Phantom]:
    return [phantom.phantom(seed, pneumonia=True, size=224) for seed in UNSEEN]


@pytest.fixture(scope="module")
def measured(taught: Classifier, drawn: list[phantom.Phantom]) -> pd.DataFrame:
    """Grad-CAM and Score-CAM of a network that finds opacities, by measure and method."""
    untrained = export.untrained(load_network(taught.run), seed=1)
    return faithfulness.measure(
        taught,
        export.in_memory(untrained, taught.config["network"]),
        [one.pixels for one in drawn],
        drawn,
        [phantom.phantom(seed, pneumonia=False, size=224).pixels for seed in UNSEEN],
        methods=("gradcam", "scorecam"),
    )


def value(measured: pd.DataFrame, method: str, measure: str) -> pd.Series:
    (row,) = measured[(measured.method == method) & (measured.measure == measure)].iloc
    return row


@dataclass
class Knows:
    """Stands in for an ensemble: one map is right about every opacity, the other never."""

    drawn: phantom.Phantom
    normal: np.ndarray
    methods: tuple[str, ...] = ("evidence", "gradcam", "occlusion")

    def explain(self, pixels: np.ndarray, method: str) -> Explanation:
        assert method != "occlusion", "the quick ones"
        right = self.drawn.opacity if pixels is self.drawn.pixels else pixels > self.normal + 1.0
        heat = right if method == "evidence" else cv2.dilate(right.astype(np.uint8), DISC) == 0
        return Explanation(method, heat.astype(np.float32), pixels.shape)


def test_where_the_heatmaps_of_an_ensemble_lie(drawn: list[phantom.Phantom]) -> None:
    normal = phantom.phantom(7000, pneumonia=False, size=224).pixels
    found = faithfulness.measure_ensemble(
        Knows(drawn[0], normal), [drawn[0].pixels], drawn[:1], [normal]
    )
    for measure in ("pointing", "drawn"):
        assert value(found, "evidence", measure).value == 1
        assert value(found, "gradcam", measure).value == 0
    # The opacity lies in a lung; all but the opacity is mostly outside.
    assert (
        value(found, "evidence", "lungs").value > 0.9 > 0.5 > value(found, "gradcam", "lungs").value
    )
    assert set(found.method) == {"evidence", "gradcam", methods.RANDOM, methods.EDGES}


def test_where_the_score_comes_from_beats_where_it_does_not() -> None:
    rng = np.random.default_rng(0)
    square = rng.integers(0, 60, (64, 64), np.uint8)
    square[20:30, 40:50] = 255

    def score(pictures: np.ndarray) -> np.ndarray:
        return pictures[:, 20:30, 40:50].mean(axis=(1, 2))

    truth = np.zeros((64, 64), np.float32)
    truth[20:30, 40:50] = 1
    deletion, insertion = faithfulness.areas(score, square, truth, rng)
    # Gone, and back, within a step or two of twenty.
    span = score(square[None])[0] - deletion
    by_chance = faithfulness.areas(score, square, rng.random((8, 8), np.float32), rng)
    backwards = faithfulness.areas(score, square, 1 - truth, rng)
    assert deletion < by_chance[0] - 0.2 * span
    assert insertion > by_chance[1] + 0.2 * span
    assert backwards == pytest.approx((insertion, deletion), abs=0.05 * span)


def test_an_empty_map_is_as_good_as_chance() -> None:
    rng = np.random.default_rng(0)
    square = rng.integers(0, 255, (64, 64), np.uint8)

    def score(pictures: np.ndarray) -> np.ndarray:
        return np.abs(pictures.astype(float) - square).mean(axis=(1, 2))

    deletion, insertion = faithfulness.areas(score, square, np.zeros((7, 7), np.float32), rng)
    assert deletion == pytest.approx(insertion, rel=0.02)


def test_oracle_beats_chance_on_a_trained_network(
    taught: Classifier, drawn: list[phantom.Phantom]
) -> None:
    rng = np.random.default_rng(0)

    def gain(one: phantom.Phantom, heat: np.ndarray) -> float:
        deletion, insertion = faithfulness.areas(
            lambda squares: metrics.log_odds(taught.distribution(squares)),
            taught.prepare(one.pixels),
            heat,
            rng,
        )
        return insertion - deletion

    oracle = [gain(one, one.opacity.astype(np.float32)) for one in drawn]
    chance = [gain(one, rng.random((7, 7), np.float32)) for one in drawn]
    assert np.mean(oracle) > np.mean(chance) + 1


def test_a_network_that_learned_is_told_from_one_that_did_not(measured: pd.DataFrame) -> None:
    for method in ("gradcam", "scorecam"):
        assert abs(value(measured, method, "untrained")["value"]) < 0.6
        assert value(measured, method, "gain")["value"] > value(measured, "random", "gain")["value"]
    assert value(measured, methods.EDGES, "untrained")["value"] == 1


def test_the_opacity_is_pointed_at(measured: pd.DataFrame, drawn: list[phantom.Phantom]) -> None:
    assert value(measured, "gradcam", "pointing")["value"] >= 0.8
    assert value(measured, "gradcam", "pointing").pictures == len(drawn)
    assert value(measured, "gradcam", "drawn")["value"] >= 0.5
    assert (
        value(measured, "random", "drawn")["value"] < value(measured, "gradcam", "drawn")["value"]
    )
    rng = np.random.default_rng(0)
    for one in drawn:
        assert faithfulness.points_at(one.opacity.astype(float), one.opacity, rng)
        assert not faithfulness.points_at(np.zeros(one.opacity.shape), one.opacity, rng)
        # Where all places are as strong, each is as good as the other.
        everywhere = np.ones(one.opacity.shape)
        hits = [faithfulness.points_at(everywhere, one.opacity, rng) for _ in range(300)]
        radius = round(15 / 224 * max(one.opacity.shape))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        near = cv2.dilate(one.opacity.astype(np.uint8), disc).mean()
        assert np.mean(hits) == pytest.approx(near, abs=0.1)


def test_every_number_lies_in_its_interval_and_areas_add_up(measured: pd.DataFrame) -> None:
    assert (measured.low <= measured.value).all()
    assert (measured.value <= measured.high).all()
    for method in measured.method.unique():
        deletion, insertion, gain = (
            value(measured, method, name)["value"] for name in ("deletion", "insertion", "gain")
        )
        assert gain == pytest.approx(insertion - deletion)
    seconds = measured[measured.measure == "seconds"]
    assert (seconds.value > 0).all()
    agreement = measured[measured.measure == "agreement"]["value"]
    assert agreement.max() == pytest.approx(agreement.min())  # of two methods with each other


def test_hits_are_counted_and_have_the_interval_of_a_share(measured: pd.DataFrame) -> None:
    for row in measured[measured.measure.isin(["pointing", "drawn"])].itertuples():
        interval = metrics.wilson(round(row.value * row.pictures), row.pictures)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))


def test_rank_correlation() -> None:
    rising = np.arange(12.0).reshape(3, 4)
    assert faithfulness.rank_correlation(rising, rising**3) == pytest.approx(1)
    assert faithfulness.rank_correlation(rising, -rising) == pytest.approx(-1)
    assert faithfulness.rank_correlation(rising, np.zeros((3, 4))) == 0


def test_the_command_keeps_its_table_in_the_run(
    taught: Classifier, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(taught.run.folder, tmp_path / "copy")
    run = runs.Run(tmp_path / "copy")
    assert run.faithfulness is None
    options = ["--data", str(phantoms), "--run", str(run.folder), "--split", "test"]
    assert main(["faithfulness", *options, "--pictures", "1", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = {record["method"] for record in records}
    own = [name for name in methods.METHODS if name != "evidence"]
    assert named == {*own, methods.RANDOM, methods.EDGES}
    assert {record["measure"] for record in records} <= set(methods.MEASURES)
    assert len(run.faithfulness) == len(records)
    shown = methods.readable(run.faithfulness)
    assert shown.method.tolist()[: len(own)] == [methods.METHODS[method].title for method in own]

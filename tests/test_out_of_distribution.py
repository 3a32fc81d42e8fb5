"""Which images a run should not read, and that the command line says so."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from made_runs import shipped_member
from PIL import Image

from cxrlib import __main__ as command_line
from cxrlib import runs
from cxrlib.images import radiograph
from cxrlib.inference import classifier, out_of_distribution
from cxrlib.inference.lung_fields import Lungs
from cxrlib.networks.lungs import SIZE


def two_lungs(rng: np.random.Generator) -> Lungs:
    """Two fields whose size and place vary a little."""
    probability = np.full((SIZE, SIZE), 0.02, np.float32)
    top, bottom = 30 + rng.integers(-6, 7), 100 + rng.integers(-6, 7)
    for left, right in ((20, 55), (73, 108)):
        left, right = left + rng.integers(-4, 5), right + rng.integers(-4, 5)
        probability[top:bottom, left:right] = 0.95
    return Lungs(probability)


@pytest.fixture(scope="module")
def fitted() -> out_of_distribution.OutOfDistributionDetector:
    rng = np.random.default_rng(0)
    shapes = np.stack([out_of_distribution.shape(two_lungs(rng)) for _ in range(600)])
    features = rng.normal(size=(600, 200)) @ rng.normal(size=(200, 200))
    return out_of_distribution.fit(shapes, features, np.arange(400), np.arange(400, 600))


def test_familiar_images_are_read(fitted: out_of_distribution.OutOfDistributionDetector) -> None:
    rng = np.random.default_rng(0)
    shapes = [two_lungs(rng) for _ in range(600)]
    features = rng.normal(size=(600, 200)) @ rng.normal(size=(200, 200))
    held_out = zip(shapes[400:], features[400:], strict=True)
    refused = [bool(fitted.reason(*pair)) for pair in held_out]
    assert np.mean(refused) <= 0.03


def test_each_reason_is_named(fitted: out_of_distribution.OutOfDistributionDetector) -> None:
    rng = np.random.default_rng(1)
    features = fitted.features.mean
    nothing = Lungs(np.zeros((SIZE, SIZE), np.float32))
    assert fitted.reason(nothing, features) == out_of_distribution.NO_LUNGS
    one_field = np.zeros((SIZE, SIZE), np.float32)
    one_field[30:100, 40:90] = 1
    assert fitted.reason(Lungs(one_field), features) == out_of_distribution.ODD_LUNGS
    assert fitted.reason(two_lungs(rng), features + 200) == out_of_distribution.UNLIKE
    assert fitted.reason(two_lungs(rng), features) == ""


def test_a_grain_that_wakes_a_silent_feature_is_nothing_new() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(600, 200)).clip(0)
    features[:, :110] = 0  # of most the training images have nothing
    shapes = np.full((600, 15), np.nan)
    fitted = out_of_distribution.fit(shapes, features, np.arange(400), np.arange(400, 600))
    nothing = Lungs(np.zeros((SIZE, SIZE), np.float32))
    features[500, :110] = 0.01
    assert fitted.reason(nothing, features[500]) == ""
    features[500, :110] = 50
    assert fitted.reason(nothing, features[500]) == out_of_distribution.UNLIKE


def test_lungs_say_nothing_where_few_training_images_have_them() -> None:
    rng = np.random.default_rng(2)
    shapes = np.full((100, 15), np.nan)
    features = rng.normal(size=(100, 30))
    fitted = out_of_distribution.fit(shapes, features, np.arange(60), np.arange(60, 100))
    nothing = Lungs(np.zeros((SIZE, SIZE), np.float32))
    assert fitted.reason(nothing, fitted.features.mean) == ""


def test_it_is_kept_with_the_run(
    fitted: out_of_distribution.OutOfDistributionDetector, tmp_path: Path
) -> None:
    run = runs.create("kept", models=tmp_path)
    run.save_out_of_distribution(fitted.save)
    again = out_of_distribution.load(run, 200)
    vectors = np.random.default_rng(3).normal(size=(5, 200))
    np.testing.assert_allclose(
        again.features.distance(vectors), fitted.features.distance(vectors), rtol=1e-4
    )
    run.out_of_distribution_file.write_bytes(run.out_of_distribution_file.read_bytes()[:99])
    with pytest.raises(runs.RunError, match="retrain"):
        out_of_distribution.load(run, 200)


@pytest.fixture(scope="module")
def shipped() -> classifier.Classifier:
    return classifier.Classifier(shipped_member())


MADE = {
    "blank": lambda rng: np.full((400, 500), 130, np.uint8),
    "noise": lambda rng: rng.integers(0, 256, (400, 500), dtype=np.uint8),
    "stripes": lambda rng: np.tile(np.repeat([20, 230], 25), (400, 10)).astype(np.uint8),
    "ramp": lambda rng: np.tile(np.linspace(0, 255, 500), (400, 1)).astype(np.uint8),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MADE)
def test_shipped_run_does_not_read_what_is_no_radiograph(
    shipped: classifier.Classifier, kind: str
) -> None:
    prediction = shipped.predict(MADE[kind](np.random.default_rng(0)))
    assert prediction.verdict == "refused"
    assert "probability" not in prediction.as_record()
    insisted = prediction.insist()
    assert insisted.verdict in ("likely", "unlikely", "uncertain")
    assert insisted.as_record().keys() >= {"probability", "reason"}


@pytest.mark.slow
def test_shipped_run_turns_other_images_away_and_reads_radiographs(
    shipped: classifier.Classifier, real
) -> None:
    others = [
        file
        for folder in sorted(real("not_chest").iterdir())
        if not folder.name.startswith("mixed")  # has frontal chest radiographs in it
        for file in sorted(folder.iterdir())
    ]
    chests = [file for file in sorted(real("uploads").rglob("*")) if file.is_file()]
    foreign = [
        file
        for label in ("NORMAL", "PNEUMONIA")
        for file in sorted((real("nih") / label).iterdir())[:30]
    ]

    def refused(files: list[Path]) -> float:
        pictures = []
        for file in files:
            with suppress(radiograph.RadiographError):  # a screenshot is too small
                pictures.append(radiograph.read(file.read_bytes()).pixels)
        return float(np.mean([shipped.predict(picture).refused for picture in pictures]))

    assert refused(others) >= 0.97
    assert refused(chests) == 0
    assert refused(foreign) <= 0.1


@pytest.mark.slow
def test_command_line_refuses_and_can_be_made_to_read(tmp_path: Path, capsys) -> None:
    file = tmp_path / "noise.png"
    Image.fromarray(MADE["noise"](np.random.default_rng(0))).save(file)
    assert command_line.main(["predict", "--json", str(file)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "refused"
    assert record["reason"]
    assert "probability" not in record
    assert command_line.main(["predict", "--json", "--insist", str(file)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] != "refused"
    assert record["reason"]
    assert 0 <= record["probability"] <= 1
    assert command_line.main(["predict", str(file)]) == 0
    assert "rejected: " in capsys.readouterr().out

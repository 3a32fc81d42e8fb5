"""Means of runs: kept as runs, read with, and kept whole."""

import json
import shutil
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_runs import make_run, make_runs, pictures, shipped_member
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.__main__ import main
from cxrlib.evaluation import compare_runs, html_report, judge
from cxrlib.evaluation.compare_runs import ComparisonError
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.images import radiograph
from cxrlib.runs import ensembles, records
from cxrlib.synthetic.phantom import phantom
from cxrlib.training import jobs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def made(tmp_path: Path) -> list[runs.Run]:
    return make_runs(tmp_path, pictures())


@pytest.fixture(scope="module")
def readable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models with two networks that differ, ``one`` and ``other``, and their mean, ``both``."""
    import keras

    from cxrlib.training.export import export

    models = tmp_path_factory.mktemp("models")
    shipped = shipped_member()
    members = [
        runs.Run(Path(shutil.copytree(shipped.folder, models / name))) for name in ("one", "other")
    ]
    network = keras.models.load_model(shipped.model_file, compile=False)
    kernel, bias = network.layers[-1].get_weights()
    kernel *= np.random.default_rng(0).uniform(0, 1.5, kernel.shape)
    network.layers[-1].set_weights([kernel, bias])
    network.save(members[1].model_file)
    export(members[1])
    compare_runs.save_ensemble("both", members)
    return models


# --- the folder -----------------------------------------------------------------------------------


def test_a_saved_mean_is_a_run_with_numbers_of_its_own(made: list[runs.Run], tmp_path: Path):
    compare_runs.save_ensemble("both", made[:2])
    run = runs.find("both", models=tmp_path)
    _, found = compare_runs.ensemble({member.name: member.predictions for member in made[:2]})
    assert run.metrics == json.loads(json.dumps(found)) | {"trained_on": "other"}
    assert [member.name for member in ensembles.networks(run)] == ["good", "plain"]
    assert "good, plain" in run.card and "Results" in run.card
    measured = Measured(run, "test")
    again = judge.measure(measured.predictions, measured.points)
    assert again["points"]["youden"]["roc_auc"]["value"] == pytest.approx(
        measured.estimates("youden")["roc_auc"].value
    )
    assert "Model card" in html_report.html(measured, "youden", prevalence=0.1)
    table = compare_runs.run_table([measured, Measured(made[0], "test")], "youden")
    assert table.network.tolist() == ["ensemble", "mobilenetv2"]


def test_what_cannot_be_kept_is_refused_and_leaves_nothing(made: list[runs.Run], tmp_path: Path):
    both = compare_runs.save_ensemble("both", made[:2])
    elsewhere = make_run(tmp_path, "elsewhere", pictures().assign(path="x"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ComparisonError, match="Choose good and plain instead"):
        compare_runs.save_ensemble("more", [both, made[2]])
    with pytest.raises(runs.RunError, match="already"):
        compare_runs.save_ensemble("good", made[:2])
    with pytest.raises(runs.RunError, match="letters, digits"):
        compare_runs.save_ensemble("../out", made[:2])
    with pytest.raises(ComparisonError, match="Too few images"):
        compare_runs.save_ensemble("apart", [made[0], elsewhere])
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_mean_needs_stays(made: list[runs.Run], tmp_path: Path):
    both = compare_runs.save_ensemble("both", made[:2])
    (tmp_path / "partial" / "config.json").write_text("{", encoding="utf-8")
    for change in (jobs.delete, partial(jobs.rename, name="better")):
        with pytest.raises(runs.RunError, match="both, a mean of runs, needs good"):
            change(made[0])
    renamed = jobs.rename(both, "mean")
    assert [member.name for member in ensembles.networks(renamed)] == ["good", "plain"]
    jobs.delete(renamed)
    jobs.delete(made[0])
    assert not made[0].folder.exists()


def test_a_member_that_is_gone_is_named(made: list[runs.Run]):
    both = compare_runs.save_ensemble("both", made[:2])
    runs.delete(made[1])
    with pytest.raises(runs.RunError, match=r"both is the mean of good and plain.*called plain"):
        ensembles.networks(both)
    assert Measured(both, "test").counts["pictures"] == 120


# --- reading --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_reads_the_mean_of_its_members(
    readable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from cxrlib.inference.ensemble import load

    run = runs.find("both", models=readable)
    both = load(run)
    drawn = phantom(13, pneumonia=True, size=768)  # one that is not read as normal
    answers, maps = zip(*(each.read(drawn.pixels) for each in both.members), strict=True)
    assert [answer.run for answer in answers] == ["one", "other"]
    assert abs(answers[0].probability - answers[1].probability) > 1e-4
    mean = np.mean([answer.probability for answer in answers])
    expected = records.read_calibration(run.metrics).apply([1 - mean, mean])[1]

    prediction, found = both.read(drawn.pixels)
    assert prediction.probability == pytest.approx(expected, abs=1e-6)
    assert prediction.run == "both"
    assert prediction.point == records.read_points(run.metrics)["youden"]
    assert both.predict(drawn.pixels).probability == pytest.approx(expected, abs=1e-4)
    normal = phantom(4, pneumonia=False, size=300).pixels
    by_two = both.predict_all([normal, drawn.pixels])
    assert by_two[0].probability == pytest.approx(both.predict(normal).probability, abs=1e-4)
    assert by_two[1].probability == pytest.approx(expected, abs=1e-4)
    for method in ("gradcam", "saliency"):
        together = np.mean([each[method].on((256, 256)) for each in maps], axis=0)
        shown = found[method].on((256, 256))
        assert shown.max() == pytest.approx(1)
        assert np.corrcoef(shown.ravel(), together.ravel())[0, 1] > 0.99

    file = tmp_path / "picture.png"
    cv2.imwrite(str(file), drawn.pixels)
    (tmp_path / "bad.png").write_bytes(b"no image")
    decoded: list[Path] = []
    decode = radiograph.read_file
    monkeypatch.setattr(radiograph, "read_file", lambda path: decoded.append(path) or decode(path))
    results = dict(both.predict_files([file, tmp_path / "bad.png"]))
    assert sorted(decoded) == [tmp_path / "bad.png", file]  # once for both networks
    assert results[file].probability == pytest.approx(expected, abs=2e-4)
    assert "JPEG, PNG" in str(results[tmp_path / "bad.png"])


def test_a_command_for_single_networks_says_so(made: list[runs.Run], capsys: pytest.CaptureFixture):
    both = compare_runs.save_ensemble("both", made[:2])
    assert main(["export", "--out", "network.h5", "--run", str(both.folder)]) == 2
    message = capsys.readouterr().err
    assert "good" in message and "plain" in message


@pytest.mark.slow
def test_the_page_saves_one_and_diagnose_reads_with_it(
    readable: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runs, "finished", partial(runs.finished, readable))
    monkeypatch.setattr(runs, "find", partial(runs.find, models=readable))
    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.query_params.update({"run": "one", "tab": "Compare", "with": ["other"]})
    app.run()
    app.switch_page("pages/metrics.py").run()

    def save():
        next(button for button in app.button if button.label == "Save as a run").click().run()
        assert not app.exception

    app.text_input(key="ensemble_name").set_value("both").run()
    save()
    assert "There is a run called both already" in app.error[0].value.replace("\\", "")
    app.text_input(key="ensemble_name").set_value("saved").run()
    save()
    assert app.success[0].value == "Saved as saved."
    buttons = {button.label: button for button in app.button}
    assert "See its numbers" in buttons
    buttons["Read X-rays with it"].click().run()
    assert not app.exception
    assert app.session_state.run == "saved"

    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    app.query_params["run"] = "saved"
    app.run()
    assert not app.exception
    assert any(caption.value.startswith("Read by the run saved.") for caption in app.caption)

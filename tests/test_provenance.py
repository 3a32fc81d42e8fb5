"""What a run was trained on is recorded, said wherever the run is, and kept apart."""

import json
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_runs import copy_shipped, make_run, pictures
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.data.origin import origin
from cxrlib.evaluation import compare_runs, html_report, model_card, trust
from cxrlib.evaluation.run_on_split import Measured
from cxrlib.inference.classifier import Classifier
from cxrlib.runs.config import TrainingConfig
from cxrlib.runs.provenance import trained_on
from cxrlib.runs.records import split_titles
from cxrlib.synthetic import phantom
from cxrlib.training import jobs, practice
from cxrlib.training.train import train

ROOT = Path(__file__).resolve().parent.parent
POINT = "youden"


def set_origin(run: runs.Run, kind: str) -> runs.Run:
    """Have a finished run say that it was trained on ``kind``, in its card too."""
    found = run.metrics | {"trained_on": kind}
    (run.folder / "metrics.json").write_text(json.dumps(found), "utf-8")
    run.save_card(model_card.card(TrainingConfig(name=run.name), run.environment, found))
    return run


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    set_origin(make_run(folder, "drawn", pictures(), separation=9.0), "synthetic")
    set_origin(make_run(folder, "taken", pictures(180), separation=3.0), "kaggle")
    set_origin(make_run(folder, "also", pictures(180), separation=2.0), "kaggle")
    return folder


def write(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 255, (40, 40), np.uint8)
        cv2.imwrite(str(file), noise)
    return folder


def test_phantoms_are_told_from_images_by_other_names_and_from_part_of_kaggle(
    phantoms: Path, tmp_path: Path
) -> None:
    assert origin(dataset.index(phantoms)) == "synthetic"
    part = write(
        tmp_path / "part",
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/NORMAL/NORMAL2-IM-0501-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
    )
    assert origin(dataset.index(part)) == "kaggle_part"
    write(part, "train/PNEUMONIA/our_patient_7.jpeg")
    assert origin(dataset.index(part)) == "other"


def test_kaggle_names_under_the_wrong_label_are_another_set(tmp_path: Path) -> None:
    folder = write(
        tmp_path, "train/NORMAL/person1_bacteria_1.jpeg", "train/PNEUMONIA/IM-0115-0001.jpeg"
    )
    assert origin(dataset.index(folder)) == "other"


def test_runs_of_earlier_versions_say_what_they_recorded() -> None:
    assert trained_on({"of_kaggle": True}) == "kaggle"
    assert trained_on({"of_kaggle": False}) == trained_on({}) == "other"
    # What the shipped run says.
    assert trained_on(runs.find(runs.SHIPPED).metrics) == "kaggle"


@pytest.fixture(scope="module")
def drawn(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    config = TrainingConfig(
        name="drawn",
        network="cnn",
        weights="none",
        size=96,
        augmentation="none",
        head_epochs=0,
        fine_tune_epochs=1,
        batch_size=8,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return train(config, phantoms, models=tmp_path_factory.mktemp("models"))


def test_a_run_on_phantoms_reads_phantoms_and_no_patient_unless_insisted(
    drawn: runs.Run, phantoms: Path
) -> None:
    assert trained_on(drawn.metrics) == "synthetic"
    classifier = Classifier(drawn)
    image = phantom.phantom(5, pneumonia=False, size=128).pixels
    found = classifier.predict(image)
    assert found.refused and "synthetic" in found.reason and "probability" not in found.as_record()
    assert not found.of_synthetic_image().refused
    assert found.insist().as_record()["probability"] == pytest.approx(found.probability, abs=1e-4)
    (_, of_file), *_ = classifier.predict_files([next((phantoms / "test/NORMAL").iterdir())])
    assert of_file.refused  # `predict` cannot know that a file was drawn


def test_card_trust_and_report_say_that_a_run_is_synthetic(models: Path) -> None:
    drawn, taken = (runs.find(name, models=models) for name in ("drawn", "taken"))
    for run, expected in ((drawn, True), (taken, False)):
        stated = trust.statement(run.metrics, POINT, 0.5)
        report = html_report.html(Measured(run, "test"), POINT, prevalence=0.1)
        for text in (run.card, stated, report):
            assert ("synthetic radiographs" in text.lower()) == expected
    assert "official" not in split_titles(drawn.metrics)["test"]
    assert "children" not in drawn.card


def test_runs_on_other_images_are_grouped_apart_and_not_tested_against_each_other(
    models: Path,
) -> None:
    measured = [
        Measured(runs.find(name, models=models), "test") for name in ("taken", "drawn", "also")
    ]
    groups = compare_runs.by_images(measured)
    assert [[item.run.name for item in group] for group in groups] == [["taken", "also"], ["drawn"]]
    compare_runs.paired(measured[0], measured[2], POINT)
    # The paths of both sets coincide in part, as names of phantoms and of Kaggle do.
    with pytest.raises(compare_runs.ComparisonError, match="synthetic"):
        compare_runs.paired(measured[0], measured[1], POINT)
    with pytest.raises(compare_runs.ComparisonError, match="synthetic"):
        compare_runs.save_ensemble("mean", [item.run for item in measured])


@pytest.fixture
def app(models: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    copy_shipped(models)
    monkeypatch.setattr(runs, "finished", partial(runs.finished, models))
    monkeypatch.setattr(runs, "find", partial(runs.find, models=models))
    monkeypatch.setattr(dataset, "configured_place", lambda: None)
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)


def open_page(app: AppTest, name: str, **query: str) -> AppTest:
    app.query_params.update(query)
    app.run()
    app.switch_page(f"pages/{name}.py").run()
    assert not app.exception
    return app


def test_metrics_heads_a_synthetic_run_with_a_warning(app: AppTest) -> None:
    open_page(app, "metrics", run="drawn")
    assert any("synthetic" in warning.value for warning in app.warning)
    app.session_state["run"] = "taken"
    app.run()
    assert not any("synthetic" in warning.value for warning in app.warning)


def test_compare_ranks_no_synthetic_run_among_others(app: AppTest) -> None:
    open_page(app, "metrics", run="taken", tab="Compare")
    tables = [item.value for item in app.dataframe]
    assert [sorted(table.run) for table in tables if "trained on" in table] == [
        ["also", "taken"],
        ["drawn"],
    ]


def test_the_sidebar_says_that_the_run_in_use_is_synthetic(app: AppTest) -> None:
    for name in ("drawn", "taken"):
        app.query_params["run"] = name
        app.run()
        said = any("synthetic" in caption.value for caption in app.sidebar.caption)
        assert said == (name == "drawn")


def test_a_run_on_phantoms_is_called_synthetic(tmp_path: Path) -> None:
    config = TrainingConfig(**practice.values())
    assert jobs.create(config, practice.folder(), models=tmp_path).name.startswith("synthetic-")
    assert not jobs.create(config, tmp_path, models=tmp_path).name.startswith("synthetic-")

"""What breaks around the app ends in a sentence, and the rest goes on: disks, folders, clocks."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import make_run, pictures
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.__main__ import main
from cxrlib.data import dataset
from cxrlib.reviews import Store
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.training import jobs
from pages.review_parts import parts

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("diagnose", "dataset", "training", "metrics", "review", "about")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two finished runs, ``good`` and ``other``, which the app uses."""
    folder = tmp_path / "models"
    for name in ("good", "other"):
        make_run(folder, name, pictures(60))
    # Where the functions look by default was settled when they were made.
    for function in (runs.finished, runs.unfinished):
        monkeypatch.setattr(function, "__defaults__", (folder,))
    for function in (runs.find, runs.create):
        monkeypatch.setattr(function, "__kwdefaults__", {"models": folder})
    monkeypatch.setattr(jobs.create, "__kwdefaults__", {"on": None, "models": folder})
    monkeypatch.setattr(runs, "MODELS", folder)
    monkeypatch.setattr(dataset, "configured_place", lambda: None)
    monkeypatch.setenv("CXR_REVIEWS", str(tmp_path / "reviews.db"))
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXR_TRAINING", "on")
    return folder


@pytest.fixture
def app(models: Path) -> AppTest:
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    opened.query_params["run"] = "good"
    return opened.run()


def said(app: AppTest) -> str:
    assert not app.exception
    return " ".join(box.value for kind in ("error", "warning", "info") for box in app.get(kind))


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()


# --- run folders ----------------------------------------------------------------------------------


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(shutil.rmtree, id="deleted"),
        pytest.param(lambda run: (run / "config.json").unlink(), id="no configuration"),
        pytest.param(lambda run: (run / "predictions.csv").unlink(), id="no predictions"),
        pytest.param(lambda run: cut(run / "metrics.json"), id="half the metrics"),
        pytest.param(lambda run: cut(run / "config.json"), id="half the configuration"),
        pytest.param(lambda run: (run / "card.md").unlink(), id="no model card"),
        pytest.param(lambda run: (run / "config.json").write_text("[]"), id="a list of settings"),
        pytest.param(lambda run: (run / "metrics.json").write_text("{}"), id="no splits"),
        pytest.param(lambda run: (run / "more").symlink_to("nowhere"), id="a dangling link"),
    ],
)
def test_every_page_opens_while_a_run_is_half_there(
    app: AppTest, models: Path, damage: Callable[[Path], None]
) -> None:
    damage(models / "good")
    for page in PAGES:
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, page
    app.session_state["run"] = "other"
    app.switch_page("pages/metrics.py").run()
    assert not app.exception
    assert app.metric, "the other run is shown as ever"


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "predictions.csv"])
def test_an_odd_run_beside_the_one_in_use_is_listed_with_what_is_wrong(
    app: AppTest, models: Path, name: str
) -> None:
    (models / "other" / name).write_text("[]")
    marked = name != "predictions.csv"  # which are read when the run is looked at
    anew = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert ("other (damaged)" in anew.selectbox(key="run").options) == marked
    for page in PAGES:
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception, page
    app.switch_page("pages/metrics.py").run()
    assert app.metric
    assert any(name in caption.value.replace("\\", "") for caption in app.caption)
    app.query_params["training_tab"] = "Finished"
    app.switch_page("pages/training.py").run()
    assert any(name in text.value.replace("\\", "") for text in app.markdown) == marked
    assert app.button(key="delete_other")


def test_a_run_without_its_network_says_so_when_an_image_is_read(app: AppTest) -> None:
    assert "was not copied whole" in said(app)


def test_a_run_from_elsewhere_cannot_bring_code_along(models: Path, tmp_path: Path) -> None:
    import keras

    from cxrlib.networks.loading import load_network

    run = runs.find("good")
    mark = tmp_path / "the code ran"
    inputs = keras.Input((8, 8, 1))
    touch = keras.layers.Lambda(eval(f"lambda x: (open({str(mark)!r}, 'w'), x)[1]"))
    keras.Model(inputs, touch(inputs)).save(run.model_file)
    mark.unlink()
    with pytest.raises(runs.RunError, match="cannot be loaded"):
        load_network(run)
    assert not mark.exists()


# --- disks ----------------------------------------------------------------------------------------


@pytest.fixture
def read_only(models: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes ``models`` read-only. Mode bits would not do: they do not stop root."""

    def freeze() -> None:
        for name in ("mkdir", "rename", "write_text", "touch", "unlink"):
            real = getattr(Path, name)

            def refused(self: Path, *args: object, real: Callable = real, **options: object) -> Any:
                if self.is_relative_to(models):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
                return real(self, *args, **options)

            monkeypatch.setattr(Path, name, refused)

    return freeze


def test_read_only_models_are_shown_and_cannot_be_changed(
    app: AppTest, models: Path, read_only: Callable[[], None]
) -> None:
    app.query_params["training_tab"] = "Finished"
    app.switch_page("pages/training.py").run()
    read_only()
    app.button(key="delete_other").click().run()
    assert "cannot be written" in said(app)
    assert (models / "other" / "metrics.json").exists()
    app.text_input(key="rename_other").set_value("another")
    app.button(key="do_rename_other").click().run()
    assert "cannot be written" in said(app)
    app.switch_page("pages/metrics.py").run()
    assert app.metric


def test_a_run_cannot_be_started_in_read_only_models(
    app: AppTest, read_only: Callable[[], None]
) -> None:
    app.switch_page("pages/training.py").run()
    read_only()
    press(app, "Train on synthetic X-rays")
    assert "cannot be written" in said(app)
    assert "MODELS" in said(app)


@pytest.mark.slow
def test_a_full_disk_ends_training_in_a_sentence(phantoms: Path, models: Path) -> None:
    config = TrainingConfig(
        **for_network("cnn", name="full", size=96, batch_size=4, fine_tune_epochs=1)
    )
    run = jobs.create(config, phantoms, on=["cpu"])
    size = 200_000  # less than a checkpoint

    def small_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    # The decoded images lie on another disk.
    from cxrlib.images.preprocess import cached_pixels

    cached_pixels(dataset.index(phantoms), 96, config.equalization)
    with run.log_file.open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "cxrlib", "train", "--resume", "full", "--models", str(models)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            preexec_fn=small_disk,
        )
    assert jobs.state(run) == "failed", run.log_tail(40)
    assert "no space left" in run.failure
    assert "Traceback" not in run.log_tail(200), "the command line says it in a sentence"
    assert not list(run.folder.glob("partial-*"))
    assert [found.name for found in runs.finished()] == ["good", "other"]


def test_a_full_disk_on_the_command_line_is_a_sentence_and_the_run_keeps_it(
    phantoms: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def write_progress(self: runs.Run, *args: object, **facts: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(runs.Run, "write_progress", write_progress)
    train = ["train", "--data", str(phantoms), "--models", str(models), "--network", "cnn"]
    assert main([*train, "--name", "kept", "--device", "cpu"]) == 2
    assert "no space left" in capsys.readouterr().err
    assert "no space left" in runs.Run(models / "kept").failure


@pytest.mark.parametrize("value", ["1e400", "-inf", "nan", "9" * 400, "[]", "x"])
def test_hostile_addresses_fall_back(
    app: AppTest, phantoms: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(dataset, "configured_place", lambda: str(phantoms))
    app.query_params["data_tab"] = "Augmentation"
    app.query_params["data_sample"] = app.query_params["data_draw"] = value
    app.switch_page("pages/dataset.py").run()
    assert not app.exception
    assert app.number_input(key="data_sample").value >= 1


# --- the database of readings ---------------------------------------------------------------------


def test_a_database_that_goes_away_and_comes_back(
    app: AppTest, models: Path, tmp_path: Path
) -> None:
    parts.store.clear()
    (models / "good" / "model.onnx").write_bytes(b"a network")
    database, away = tmp_path / "reviews.db", tmp_path / "elsewhere.db"
    app.switch_page("pages/review.py").run()
    app.text_input(key="reader_name").set_value("AB")
    app.radio(key="case_source").set_value("practice").run()
    press(app, "Begin")
    assert not app.exception
    uid = app.query_params["session"]
    database.rename(away)
    app.run()
    assert "does not answer" in said(app)
    app.switch_page("pages/metrics.py").run()
    assert app.metric, "the rest works"
    away.replace(database)
    app.switch_page("pages/review.py")
    app.query_params["session"] = uid
    app.run()
    assert "does not answer" not in said(app)
    assert any("Skip" in button.label for button in app.button), "the case is there again"
    engine = create_engine(f"sqlite:///{database}")
    assert [reader.name for reader in Store(engine).readers()] == ["AB"]
    engine.dispose()
    parts.store.clear()


def test_an_answer_given_while_the_database_is_gone_is_kept_and_sent(
    app: AppTest, models: Path, tmp_path: Path
) -> None:
    parts.store.clear()
    (models / "good" / "model.onnx").write_bytes(b"a network")
    database, away = tmp_path / "reviews.db", tmp_path / "elsewhere.db"
    app.switch_page("pages/review.py").run()
    app.text_input(key="reader_name").set_value("AB")
    app.radio(key="case_source").set_value("practice").run()
    press(app, "Begin")
    database.rename(away)
    number = next(
        button.key.split("-")[-1] for button in app.button if str(button.key).startswith("commit-")
    )
    app.button(key=f"first-normal-{number}").click().run()
    assert "does not answer" in said(app)
    assert "kept" in said(app)
    away.replace(database)
    press(app, "Try again")
    assert "does not answer" not in said(app)
    app.button(key=f"first-4-{number}").click().run()
    database.rename(away)
    app.button(key=f"commit-{number}").click().run()
    assert "kept" in said(app)
    away.replace(database)
    press(app, "Try again")
    engine = create_engine(f"sqlite:///{database}")
    (reader,) = Store(engine).readers()
    reading = next(one for one in reader.sessions[0].readings if one.id == int(number))
    assert (reading.first_answer, reading.first_confidence) == ("normal", 4)
    assert reading.stage == "second"
    # What is to be done only now, and not later, says that it was not done.
    database.rename(away)
    press(app, "End the session")
    assert "does not answer" in said(app)
    away.replace(database)
    assert Store(engine).readers()[0].sessions[0].ended is None
    engine.dispose()
    parts.store.clear()


# --- clocks ---------------------------------------------------------------------------------------


def test_runs_of_the_future_and_of_1970_are_shown(app: AppTest, models: Path) -> None:
    for when in (0, time.time() + 10 * 365 * 86400):
        for file in (models / "other").iterdir():
            os.utime(file, (when, when))
        for page in PAGES:
            app.switch_page(f"pages/{page}.py").run()
            assert not app.exception, page

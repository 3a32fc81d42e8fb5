"""The training page in a real browser: start, watch, stop, resume; killed; server restarted."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from conftest import Servers
from made_runs import shipped_member

from cxrlib import runs

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
pytestmark = pytest.mark.browser

SECONDS = 1000  # Playwright counts in milliseconds
PATIENCE = 150 * SECONDS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantoms of the page, drawn once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def serve(app: Servers, cache: Path, tmp_path: Path) -> Callable[..., str]:
    """Starts the app on an empty models folder, without a data set."""

    def start(**environment: str) -> str:
        return app(
            **{
                "CXR_MODELS_DIR": str(tmp_path / "models"),
                "CXR_CACHE_DIR": str(cache),
                "KAGGLEHUB_CACHE": str(tmp_path / "kaggle"),
                "CXR_DATA_DIR": "",
                "CXR_TRAINING": "on",
            }
            | environment
        )

    return start


def open_training(page: "playwright.Page", url: str) -> None:
    page.goto(url)
    page.get_by_role("link", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="Train", exact=True)).to_be_visible()


def start_practice(page: "playwright.Page") -> None:
    page.get_by_role("button", name="Train on synthetic X-rays").click()
    expect(stop_button(page)).to_be_visible(timeout=PATIENCE)


def share_done(page: "playwright.Page") -> float:
    return float(page.get_by_role("progressbar").get_attribute("aria-valuenow"))


def wait_for_progress(page: "playwright.Page", *, beyond: float) -> None:
    page.wait_for_function(
        "beyond => Number(document.querySelector('[role=progressbar]')"
        "?.getAttribute('aria-valuenow')) > beyond",
        arg=beyond,
        timeout=PATIENCE,
    )


def stop_button(page: "playwright.Page") -> "playwright.Locator":
    """The run's; Streamlit has one of its own while a script runs."""
    return page.get_by_test_id("stTabs").get_by_role("button", name="Stop")


def progress_file(models: Path) -> dict[str, object]:
    (file,) = models.glob("*/progress.json")
    return json.loads(file.read_text())


def test_run_is_started_watched_stopped_resumed_and_judged(
    serve: Callable[..., str], page: "playwright.Page"
) -> None:
    open_training(page, serve())
    start_practice(page)
    # It is through in some seconds.
    page.get_by_text(re.compile(r"images a second")).wait_for(timeout=PATIENCE)
    stop_button(page).click()
    expect(page.get_by_text(re.compile("· stopped"))).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile(r"epoch \d+ of at most 20"))).to_be_visible()
    reached = share_done(page)
    page.get_by_role("button", name="Resume").click()
    wait_for_progress(page, beyond=reached)
    page.get_by_role("button", name="Curves, errors and calibration").click(timeout=PATIENCE)
    expect(page.get_by_role("heading", name="Metrics", exact=True)).to_be_visible()
    expect(page.get_by_text("ROC-AUC").first).to_be_visible()
    in_use = page.get_by_test_id("stSidebar").get_by_text("Trained on synthetic radiographs")
    expect(in_use).to_be_visible()


def test_run_outlives_the_server_and_resumes_after_its_process_is_killed(
    app: Servers, serve: Callable[..., str], page: "playwright.Page", tmp_path: Path
) -> None:
    url = serve()
    open_training(page, url)
    start_practice(page)
    wait_for_progress(page, beyond=0)
    before = progress_file(tmp_path / "models")
    app.kill(url)
    open_training(page, serve())
    page.get_by_role("tab", name="In progress").click()
    wait_for_progress(page, beyond=0)
    now = progress_file(tmp_path / "models")
    assert now["pid"] == before["pid"]
    os.kill(now["pid"], signal.SIGKILL)
    expect(page.get_by_text(re.compile("· interrupted"))).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("· running"))).to_be_visible(timeout=PATIENCE)
    stop_button(page).click()
    expect(page.get_by_text(re.compile("· stopped"))).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_text("No run is in progress")).to_be_visible()
    assert not list((tmp_path / "models").iterdir())


def test_form_refuses_bad_values_in_words(
    serve: Callable[..., str], page: "playwright.Page", phantoms: Path
) -> None:
    open_training(page, serve(CXR_DATA_DIR=str(phantoms)))
    start = page.get_by_role("button", name="Start training")
    expect(start).to_be_enabled()
    page.get_by_text("Advanced", exact=True).click()
    for label, value, complaint in (
        ("Name", "a/b", "letters, digits, dots"),
        ("Batch size", "500", "Choose a smaller batch"),
        ("Learning rate", "0", "greater than 0"),
    ):
        field = page.get_by_label(label, exact=True)
        good = field.input_value()
        field.fill(value)
        field.press("Enter")
        expect(page.get_by_role("alert").filter(has_text=complaint)).to_be_visible()
        expect(start).to_be_disabled()
        field.fill(good)
        field.press("Enter")
        expect(start).to_be_enabled()


def test_finished_run_is_exported_duplicated_renamed_and_deleted(
    serve: Callable[..., str], page: "playwright.Page", phantoms: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(shipped_member().folder, models / "mine")
    config = runs.Run(models / "mine").config
    open_training(page, serve(CXR_DATA_DIR=str(phantoms)))
    page.get_by_role("tab", name="Finished").click()
    with page.expect_download() as keras_file:
        page.get_by_role("button", name="Model as .keras").click()
    assert Path(keras_file.value.path()).read_bytes() == (models / "mine/model.keras").read_bytes()
    page.get_by_role("button", name="More").click()
    with page.expect_download(timeout=PATIENCE) as h5_file:
        page.get_by_role("button", name="Model as .h5").click()
    assert h5_file.value.suggested_filename == "mine.h5"
    with h5py.File(h5_file.value.path()) as network:
        assert "probability" in network["model_weights"]

    page.get_by_role("textbox", name="New name").fill("yours")
    page.get_by_role("textbox", name="New name").press("Enter")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_text("yours · mobilenetv2, 192 px")).to_be_visible()
    assert (models / "yours").is_dir() and not (models / "mine").exists()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="New run with these settings").click()
    epochs = page.get_by_label("Epochs of fine-tuning", exact=True)
    expect(epochs).to_have_value(str(config["fine_tune_epochs"]))
    # Where its files lie is not kept with a run: the form asks for them, and knows runs of here.
    page.get_by_text("Advanced", exact=True).click()
    no_file = page.get_by_role("alert").filter(has_text=f"There is no file {config['weights']}")
    expect(no_file).to_be_visible()
    page.get_by_role("combobox", name="Initial weights").click()
    page.get_by_role("option", name="the run yours").click()
    expect(no_file).to_have_count(0)
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()

    (models / config["weights"]).parent.mkdir(exist_ok=True)
    shutil.copy(models / "yours" / "model.keras", models / config["weights"])
    page.get_by_role("tab", name="Finished").click()
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="New run with these settings").click()
    page.get_by_text("Advanced", exact=True).click()
    beside = str(models / config["weights"])
    expect(page.get_by_role("combobox", name="Initial weights")).to_have_value(beside)
    expect(page.get_by_role("button", name="Start training")).to_be_enabled()

    page.get_by_role("tab", name="Finished").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete permanently").click()
    expect(page.get_by_text("No finished runs yet")).to_be_visible()
    assert not (models / "yours").exists()


def test_hosted_page_shows_runs_and_starts_none(
    serve: Callable[..., str], page: "playwright.Page", tmp_path: Path
) -> None:
    shutil.copytree(shipped_member().folder, tmp_path / "models" / "yours")
    open_training(page, serve(CXR_TRAINING="off"))
    expect(page.get_by_text("locked on this server")).to_be_visible()
    launching = re.compile("Start|Train on|Delete|Download|Rename|More")
    expect(page.get_by_text("yours · mobilenetv2, 192 px")).to_be_visible()
    expect(page.get_by_role("button", name=launching)).to_have_count(0)

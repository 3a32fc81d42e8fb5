"""One file that asks for many runs: which trials it makes, how it goes on, what is called best."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_runs
import pytest

from cxrlib import runs
from cxrlib.runs import sweeps
from cxrlib.runs.sweeps import Sweep, SweepError
from cxrlib.training import jobs
from pages.training_parts.sweeps_tab import in_words

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 120
GRID = """
name = "rates"
[settings]
network = "cnn"
[values]
learning_rate = [1e-3, 1e-4]
seed = [0, 1, 2]
"""
SEARCH = """
name = "search"
trials = 5
[settings]
network = "cnn"
[values]
augmentation = ["none", "light"]
[ranges]
learning_rate = {low = 1e-5, high = 1e-2, log = true}
fine_tune_epochs = {low = 2, high = 9}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "sweep.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_grid_has_every_combination_and_one_validation_split(tmp_path: Path) -> None:
    configs = sweeps.read(write(tmp_path, GRID)).configurations()
    assert {(one.learning_rate, one.seed) for one in configs} == {
        (rate, seed) for rate in (1e-3, 1e-4) for seed in (0, 1, 2)
    }
    assert [one.name for one in configs] == [f"rates-0{number}" for number in range(1, 7)]
    assert {one.split_seed for one in configs} == {0}, "trials of other images cannot be compared"
    assert {one.size for one in configs} == {150}, "not what suits the network"


def test_a_search_draws_the_same_trials_again_and_more_on_request(tmp_path: Path) -> None:
    five = sweeps.read(write(tmp_path, SEARCH)).configurations()
    assert len({one.learning_rate for one in five}) == 5
    for one in five:
        assert 1e-5 <= one.learning_rate <= 1e-2
        assert isinstance(one.fine_tune_epochs, int)
        assert 2 <= one.fine_tune_epochs <= 9
    more = sweeps.read(write(tmp_path, SEARCH.replace("trials = 5", "trials = 8")))
    assert more.configurations()[:5] == five


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[1e-3, 1e-4]", "[1e-3, -1.0]"), "learning_rate = -1.0.*greater than 0"),
        (("learning_rate", "rate_of_learning"), "no setting rate_of_learning"),
        (('network = "cnn"', "seed = 1"), "seed is given twice"),
        (("seed = [0", "split_seed = [0"), "has to be the same for all trials"),
        (("[values]", "[valves]"), "valves"),
        (('"rates"', '"a/b"'), "letters, digits"),
        (("[1e-3, 1e-4]", "[]"), "no values"),
        (('name = "rates"', "name = "), "not a sweep's file"),
    ],
)
def test_what_cannot_be_is_said_with_the_setting(
    tmp_path: Path, change: tuple[str, str], says: str
) -> None:
    with pytest.raises(SweepError, match=says):
        sweeps.read(write(tmp_path, GRID.replace(*change))).configurations()


def test_best_is_by_validation_whatever_the_test_split_says(tmp_path: Path) -> None:
    table = made_runs.pictures()
    sweep = Sweep(
        name="made", settings={"network": "cnn"}, values={"learning_rate": [1e-3, 1e-4, 1e-5]}
    )
    for config, separation in zip(sweep.configurations(), (1.0, 4.0, 3.9), strict=True):
        asked = config.model_dump(exclude={"name"})
        run = made_runs.make_run(tmp_path, config.name, table, separation=separation, **asked)
        file = run.folder / "metrics.json"
        found = json.loads(file.read_text(encoding="utf-8"))
        for point in found["splits"]["test"]["points"].values():
            point["roc_auc"]["value"] = 1.0 - separation / 10
        file.write_text(json.dumps(found), encoding="utf-8")
    known = sweeps.trials(sweep, tmp_path)
    first, equals = sweeps.best(known)
    assert first.run.name == "made-02"
    assert [trial.run.name for trial in equals] == ["made-03"]
    shown = sweeps.table(sweep, known)
    assert list(shown.trial) == ["made-02", "made-03", "made-01"]
    assert "test" not in " ".join(shown.columns)


def test_a_run_of_that_name_with_other_settings_is_not_taken_for_a_trial(tmp_path: Path) -> None:
    made_runs.make_run(tmp_path, "made-01", made_runs.pictures(), **made_runs.CNN)
    sweep = Sweep(name="made", settings={"network": "cnn"}, values={"learning_rate": [1e-3]})
    with pytest.raises(SweepError, match=r"made-01 .*other settings"):
        sweeps.trials(sweep, tmp_path)


def test_a_trial_stopped_early_keeps_its_history_and_is_not_gone_on_with(tmp_path: Path) -> None:
    sweep = Sweep(name="made", settings=made_runs.CNN, values={"learning_rate": [1e-3, 1e-4]})
    for config in sweep.configurations():
        run = jobs.create(config, tmp_path / "data", on=["cpu"], models=tmp_path)
        run.save_history(made_runs.HISTORY)
        run.save_checkpoint(lambda file: file.write_bytes(b"weights"))
    run.give_up()
    known = sweeps.trials(sweep, tmp_path)
    assert [trial.state for trial in known] == ["unfinished", "stopped early"]
    assert known[1].over
    assert not run.has_checkpoint
    assert [one.name for one in runs.unfinished(tmp_path)] == ["made-01"]
    shown = sweeps.table(sweep, known).set_index("trial")
    assert shown.epochs["made-02"] == 3
    on_the_page = in_words(sweeps.table(sweep, known), running=True).set_index("Trial")
    assert on_the_page.State["made-01"] == "running"
    assert "Learning rate" in on_the_page
    assert shown.validation_auc["made-02"] == "0.920"
    assert sweeps.best(known) is None


def test_the_page_shows_trials_and_the_best_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    from cxrlib.training import sweep as background

    asked = Sweep(name="made", settings=made_runs.CNN, values={"learning_rate": [1e-3, 1e-4]})
    config = asked.configurations()[0].model_dump(exclude={"name"})
    made_runs.make_run(tmp_path, "made-01", made_runs.pictures(), **config)
    sweeps.keep(asked, tmp_path)
    launched = []
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setattr(runs, "MODELS", tmp_path)
    monkeypatch.setattr(background, "launch", lambda *given: launched.append(given))
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page.switch_page("pages/training.py")
    page.query_params["training_tab"] = "Sweeps"
    page.run()
    assert not page.exception
    shown = " ".join(one.value for one in page.markdown)
    assert "1 of 2 trials done" in shown
    assert "**made-01**, AUC" in shown.replace("\\", "")
    table = page.dataframe[0].value
    assert list(table.Trial) == ["made-01", "made-02"]
    assert list(table.State) == ["finished", "not started"]
    page.button(key="sweep_go_made").click().run()
    assert launched == [(asked, tmp_path)]


def test_a_sweep_is_deleted_with_the_runs_that_no_other_list_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    asked = Sweep(name="made", settings=made_runs.CNN, values={"learning_rate": [1e-3, 1e-4]})
    first, second = asked.configurations()
    made = first.model_dump(exclude={"name"})
    made_runs.make_run(tmp_path, "made-01", made_runs.pictures(), **made)
    jobs.create(second, tmp_path / "data", on=["cpu"], models=tmp_path).give_up()
    sweeps.keep(asked, tmp_path)
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setattr(runs, "MODELS", tmp_path)
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page.switch_page("pages/training.py")
    page.query_params["training_tab"] = "Sweeps"
    page.run()
    page.button(key="sweep_delete_made").click().run()
    assert not page.exception
    assert not sweeps.kept(tmp_path)
    assert runs.find("made-01", models=tmp_path).finished
    assert not (tmp_path / "made-02").exists()


def test_the_form_makes_a_sweep_of_its_settings_and_several_values(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    from cxrlib.training import sweep as background
    from pages.training_parts.new_run import starting_values

    launched = []
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    monkeypatch.setattr(runs, "MODELS", tmp_path)
    monkeypatch.setattr(background, "launch", lambda asked, models: launched.append(asked))
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page.switch_page("pages/training.py")
    page.query_params["training_tab"] = "Sweeps"
    for name, value in starting_values("cnn").items():
        page.session_state[f"new_{name}"] = value
    page.session_state["sweep_fields"] = ["learning_rate", "classes"]
    page.run()
    page.text_input(key="sweep_values_learning_rate").set_value("1e-3, 0.01")
    page.text_input(key="sweep_values_classes").set_value("2, 4").run()
    assert "Classes" in page.error[0].value or "classes" in page.error[0].value
    (start,) = (button for button in page.button if button.label == "Start 4 runs")
    assert start.disabled
    page.text_input(key="sweep_values_classes").set_value("2").run()
    page.text_input(key="sweep_name").set_value("mine").run()
    (start,) = (button for button in page.button if button.label == "Start 2 runs")
    start.click().run()
    assert not page.exception
    (asked,) = launched
    assert asked.name == "mine"
    assert Path(asked.data) == phantoms
    assert [one.learning_rate for one in asked.configurations()] == [1e-3, 0.01]
    assert {one.network for one in asked.configurations()} == {"cnn"}


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_and_leaves_finished_trials_alone(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    settings = "size = 96\nfine_tune_epochs = 3\nbatch_size = 8\naugmentation = 'none'\n[values]"
    file = write(tmp_path, GRID.replace("[values]", settings).replace("[0, 1, 2]", "[0]"))
    sweep, models = sweeps.read(file), tmp_path / "models"
    asked = sweep.configurations()[0].model_dump(exclude={"name"})
    finished = made_runs.make_run(models, "rates-01", made_runs.pictures(), **asked)
    before = finished.measured_at
    _, trained = sweeps.trials(sweep, models)

    command = [sys.executable, "-m", "cxrlib", "sweep", str(file), "--data", str(phantoms)]
    command += ["--models", str(models)]
    interrupted = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + SECONDS
    while not trained.run.has_history:
        assert time.monotonic() < deadline, trained.run.log_tail()
        time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    printed, _ = interrupted.communicate(timeout=SECONDS)
    assert interrupted.returncode == 1
    assert "unfinished" in printed
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert again.returncode == 0, again.stderr
    assert "Best by validation: rates-0" in again.stdout
    assert list(trained.run.history.epoch) == [1, 2, 3]
    assert finished.measured_at == before
    assert [one.name for one in sweeps.kept(models)] == ["rates"]

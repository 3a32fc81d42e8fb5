"""Runs in the background: real processes, killed, stopped, queued and resumed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxrlib import runs
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.training import jobs

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 120
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def start(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable]:
    """Starts a small run in the background; ends it with the test."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    started: list[runs.Run] = []

    def launch(name: str, *, data: Path = phantoms, **values: object) -> runs.Run:
        values = {"size": 96, "batch_size": 4, "fine_tune_epochs": 4, "patience": 99} | values
        config = TrainingConfig(**for_network("cnn", name=name, **values))
        run = jobs.create(config, data, on=["cpu"], models=tmp_path / "models")
        started.append(run)
        jobs.launch(run)
        return run

    yield launch
    for run in started:
        if run.folder.exists() and jobs.alive(run):
            os.kill(run.progress["pid"], signal.SIGKILL)


def wait(true: Callable[[], bool], run: runs.Run) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"{jobs.state(run)}\n{run.log_tail(40)}"
        time.sleep(0.05)


# Stands in for training: says when it has its device and when it lets it go, which is when another
# run has one too, or its patience is over.
HOLD = """
import sys, time
from pathlib import Path
from cxrlib.runs.folder import Run
from cxrlib.training import devices, jobs

run, folder, patience = Run(Path(sys.argv[1])), Path(sys.argv[2]), float(sys.argv[3])

def hold(_):
    run.write_progress("training")  # it waits no longer
    start = time.time()
    (folder / f"{run.name}.holds").touch()
    while len(list(folder.glob("*.holds"))) < 2 and time.time() < start + patience:
        time.sleep(0.05)
    print(start, time.time(), flush=True)
    sys.exit()

devices.use = hold
jobs.work(run)
"""


@pytest.mark.parametrize(
    ("device", "models", "patience", "overlap"),
    [
        ("cpu", "models", 2, False),
        ("cpu", "models of others", 6, False),
        ("gpu:1", "models", 60, True),
    ],
)
def test_a_device_is_held_by_one_run_at_a_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    models: str,
    patience: float,
    overlap: bool,
) -> None:
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    processes = []
    for name, on, place in (("one", "cpu", "models"), ("two", device, models)):
        config = TrainingConfig(**for_network("cnn", name=name))
        run = jobs.create(config, tmp_path, on=[on], models=tmp_path / place)
        arguments = [str(run.folder), str(tmp_path), str(patience)]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", HOLD, *arguments],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        # Of those in one folder the first goes first, whichever starts first.
        while models != "models" and name == "one" and not (tmp_path / "one.holds").exists():
            assert processes[0].poll() is None
            time.sleep(0.05)
    printed = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    assert any("Waiting for cpu" in errors for _, errors in printed) != overlap
    spans = sorted([float(word) for word in output.split()] for output, _ in printed)
    (_, end), (start, _) = spans
    assert (start < end) == overlap


def learning(run: runs.Run, epoch: int = 1) -> bool:
    return run.progress.get("epoch", 0) >= epoch


def test_killed_run_is_interrupted_and_resumes_to_its_full_history(start: Callable) -> None:
    run = start("killed", fine_tune_epochs=60)
    assert jobs.state(run) in ("queued", "running")
    wait(lambda: learning(run, epoch=3), run)
    assert jobs.state(run) == "running"
    pid = run.progress["pid"]
    assert os.getsid(pid) != os.getsid(0), "it would die with the server's session"
    with pytest.raises(runs.RunError, match="stop it first"):
        jobs.delete(run)
    with pytest.raises(runs.RunError, match="already"):
        jobs.launch(run)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: not jobs.alive(run), run)
    assert jobs.state(run) == "interrupted"
    assert not run.finished
    jobs.launch(run)
    wait(lambda: jobs.state(run) == "finished", run)
    assert list(run.history.epoch) == list(range(1, 61))


def test_second_run_waits_and_can_be_stopped_while_it_does(start: Callable) -> None:
    first = start("first", fine_tune_epochs=200)
    wait(lambda: learning(first), first)
    second = start("second")
    wait(lambda: jobs.state(second) == "queued", second)
    assert jobs.ahead(second) == "first"
    assert not jobs.alive(second), "what waits has no process"
    third = start("third")
    wait(lambda: jobs.state(third) == "queued", third)
    third.request_stop()
    wait(lambda: jobs.state(third) == "stopped", third)
    os.kill(first.progress["pid"], signal.SIGTERM)  # a request to stop, as when a machine goes down
    wait(lambda: jobs.state(first) == "stopped", first)
    assert first.has_checkpoint
    wait(lambda: jobs.state(second) == "running", second)
    renamed = jobs.rename(third, "renamed")
    jobs.delete(renamed)
    assert not renamed.folder.exists()


def test_only_so_many_runs_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "state", lambda run: "queued")

    def create(name: str) -> None:
        config = TrainingConfig(**for_network("cnn", name=name))
        jobs.create(config, tmp_path, on=["cpu"], models=tmp_path / "models")

    for number in range(jobs.MOST_WAITING):
        create(f"run{number}")
    with pytest.raises(runs.RunError, match=r"stop one: .*run0"):
        create("more")
    assert not (tmp_path / "models" / "more").exists()


def test_failed_run_says_why(start: Callable, tmp_path: Path) -> None:
    run = start("failed", data=tmp_path / "nowhere")
    wait(lambda: not jobs.alive(run), run)
    assert jobs.state(run) == "failed"
    assert "nowhere does not exist" in run.failure
    assert "nowhere" in run.log_tail()


def test_training_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXR_TRAINING", raising=False)
    assert jobs.allowed({}, local=True)
    assert not jobs.allowed({"training": {"enabled": False}}, local=True)
    monkeypatch.setenv("CXR_TRAINING", "off")
    assert not jobs.allowed({"training": {"enabled": True}}, local=True)


def test_jobs_and_configuration_load_without_tensorflow() -> None:
    program = (
        "import sys; from cxrlib.runs import config; "
        "from cxrlib.training import devices, estimate, jobs, practice; "
        "devices.found(); sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

"""A real Ray cluster on this machine: runs and archives there, and nodes that are lost."""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import pandas as pd
import pytest

from cxrlib import runs
from cxrlib.inference.ensemble import load
from cxrlib.runs import sweeps
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.synthetic import phantom
from cxrlib.training import devices, jobs

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300
SWEEP = """
name = "both"
reduction = 1
[settings]
network = "cnn"
size = 96
fine_tune_epochs = 25
patience = 999
batch_size = 8
augmentation = "none"
[values]
learning_rate = [1e-3, 1e-4]
"""
# Of the first rate everything is learned in an epoch, of the second nothing.
POOR = """
name = "poor"
grace_epochs = 2
reduction = 2
[settings]
network = "cnn"
size = 96
seed = 1
fine_tune_epochs = 8
patience = 999
batch_size = 8
augmentation = "none"
[values]
learning_rate = [1e-3, 1e-9]
"""
EPOCHS = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A cluster of a head without cores, and one node with a core; tests add and remove nodes."""
    from ray.cluster_utils import Cluster

    with (
        pytest.MonkeyPatch.context() as patch,
        # A socket's path may have no more than about 100 characters.
        tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as place,
    ):
        patch.setenv("RAY_TMPDIR", place)
        patch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("nodes")))
        patch.setenv("PYTHONPATH", str(ROOT))
        # Jobs call the node's Python by name.
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        # Nodes of one machine would end each other's work where its memory runs low.
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0}
        running = Cluster(initialize_head=True, head_node_args=head)
        running.add_node(num_cpus=1)
        yield running
        running.shutdown()


def replace_node(cluster) -> None:
    """Kill the cluster's node and add another one."""
    (node,) = cluster.worker_nodes
    cluster.remove_node(node)
    cluster.add_node(num_cpus=1)


def wait(true: Callable[[], bool], run: runs.Run) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        state = jobs.state(run)
        assert state != "failed" and time.monotonic() < deadline, f"{state}\n{run.log_tail(40)}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def trained(cluster, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A run that the cluster trained: stopped, resumed on another node, and that one lost too."""
    folder = tmp_path_factory.mktemp("trained")
    phantom.write_dataset(folder / "chest_xray", patients=40, size=128)
    values = {"size": 96, "batch_size": 8, "fine_tune_epochs": EPOCHS, "patience": 999}
    config = TrainingConfig(**for_network("cnn", name="there", augmentation="none", **values))
    on = [devices.on_cluster(cluster.address)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        run = jobs.create(config, folder / "chest_xray", on=on, models=folder / "models")
        jobs.launch(run)
        wait(lambda: run.has_history, run)
        assert jobs.state(run) == "running"
        run.request_stop()
        wait(lambda: jobs.state(run) == "stopped", run)
        assert run.has_checkpoint
        stopped_at = len(run.history)

        replace_node(cluster)
        jobs.launch(run)
        wait(lambda: len(run.history) > stopped_at, run)
        assert jobs.state(run) == "running"
        replace_node(cluster)
        wait(lambda: jobs.state(run) not in ("running", "queued"), run)
    assert jobs.state(run) == "finished", run.log_tail(40)
    return run


def cxrlib(*arguments: object) -> subprocess.Popen[str]:
    """The command line in a process of its own, which is where Ray belongs."""
    return subprocess.Popen(
        [sys.executable, "-m", "cxrlib", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def complaint(*arguments: object) -> str:
    process = cxrlib(*arguments)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2, errors
    return errors.splitlines()[-1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 2,000 files of some drawn radiographs, two of them damaged."""
    folder = tmp_path_factory.mktemp("archive")
    for seed in range(20):
        cv2.imwrite(
            str(folder / f"0-{seed:02}.png"),
            phantom.phantom(seed, pneumonia=bool(seed % 2), size=128).pixels,
        )
        for copy in range(1, 100):
            os.link(folder / f"0-{seed:02}.png", folder / f"{copy}-{seed:02}.png")
    for name in ("7-07.png", "90-13.png"):
        (folder / name).unlink()
        (folder / name).write_bytes(b"damaged")
    return folder


def test_a_run_has_its_whole_history_whatever_became_of_its_nodes(trained: runs.Run) -> None:
    assert list(trained.history.epoch) == list(range(1, EPOCHS + 1))
    assert "submitted again" in trained.log_file.read_text(encoding="utf-8")
    assert not trained.pending
    assert not trained.has_checkpoint
    assert load(trained).predict(phantom.phantom(1, pneumonia=True).pixels).run == "there"


def test_an_archive_survives_the_loss_of_a_worker(
    cluster, trained: runs.Run, drawn: Path, tmp_path: Path
) -> None:
    extra = cluster.add_node(num_cpus=1)
    out = tmp_path / "results.parquet"
    # The run that was just trained is the quickest; it reads what is not drawn too if insisted.
    asked = ["--out", out, "--run", trained.folder, "--insist", "--cluster", cluster.address]
    reading = cxrlib("predict", drawn, *asked)
    assert reading.stderr
    seen = ""
    while not any(f"| {count}/2000" in seen for count in range(300, 600)):
        seen += reading.stderr.read(1)
        assert reading.poll() is None, seen
    cluster.remove_node(extra)
    printed, errors = reading.communicate(timeout=SECONDS)
    assert reading.returncode == 0, errors
    assert "2,000 files" in printed
    table = pd.read_parquet(out)
    assert sorted(table.file) == sorted(map(str, drawn.iterdir()))
    assert (table.error != "").sum() == 2
    # What all copies of an image say is the same, whoever read them.
    read = table[table.error == ""]
    by_image = read.probability.groupby(read.file.str[-6:-4])
    assert (by_image.max() - by_image.min()).max() < 1e-3
    assert set(table.run) == {"there"}


def test_a_sweep_finishes_all_the_same(cluster, trained: runs.Run, tmp_path: Path) -> None:
    file, models = tmp_path / "sweep.toml", tmp_path / "models"
    file.write_text(SWEEP, encoding="utf-8")
    extra = cluster.add_node(num_cpus=1)
    data = trained.folder.parent.parent / "chest_xray"
    asked = ["--data", data, "--models", models, "--cluster", cluster.address]
    sweeping = cxrlib("sweep", file, *asked)
    known = sweeps.trials(sweeps.read(file), models)
    deadline = time.monotonic() + SECONDS
    while not all(trial.run.has_history for trial in known):
        assert sweeping.poll() is None, sweeping.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {jobs.state(trial.run) for trial in known} == {"running"}
    cluster.remove_node(extra)
    printed, errors = sweeping.communicate(timeout=SECONDS)
    assert sweeping.returncode == 0, errors
    assert "Best by validation: both-0" in printed
    for trial in known:
        assert trial.state == "finished"
        assert list(trial.run.history.epoch) == list(range(1, 26))


def test_a_poor_trial_is_stopped_early_and_a_data_set_may_be_at_a_url(
    cluster, served: tuple[Path, str], tmp_path: Path
) -> None:
    folder, server = served
    data, url, models = folder / "chest_xray", f"{server}/chest_xray", tmp_path / "models"
    phantom.write_dataset(data, patients=40, size=128)
    for file in data.glob("*/PNEUMONIA/*"):  # white on black: nobody needs long to learn that
        cv2.imwrite(str(file), 255 - cv2.imread(str(file), cv2.IMREAD_GRAYSCALE))
    file = tmp_path / "sweep.toml"
    file.write_text(POOR, encoding="utf-8")
    asked = ["--data", url, "--models", models, "--cluster", cluster.address]
    printed, errors = cxrlib("sweep", file, *asked).communicate(timeout=SECONDS)
    assert "stopped early" in printed, errors
    assert "Best by validation: poor-01" in printed
    good, poor = sweeps.trials(sweeps.read(file), models)
    assert good.state == "finished"
    assert good.run.environment["data"] == url
    assert poor.state == "stopped early"
    assert list(poor.run.history.epoch) == [1, 2]
    assert not poor.run.has_checkpoint
    assert not runs.unfinished(models)
    again = cxrlib("sweep", file, *asked)
    assert "stopped early" in again.communicate(timeout=SECONDS)[0]
    assert again.returncode == 0, "a trial that was stopped is resumed"


def test_deleting_a_run_that_nobody_follows_stops_its_job(
    cluster, phantoms: Path, tmp_path: Path
) -> None:
    from ray.job_submission import JobSubmissionClient
    from ray.util.state import list_actors

    run = runs.Run((tmp_path / "left").resolve())
    options = ["--network", "cnn", "--size", 96, "--batch-size", 8, "--fine-tune-epochs", 500]
    place = ["--data", phantoms, "--models", tmp_path, "--name", "left", "--patience", 999]
    following = cxrlib("train", *options, *place, "--cluster", cluster.address)
    wait(lambda: run.has_history or following.poll() is not None, run)
    following.kill()
    following.communicate()
    wait(lambda: jobs.state(run) == "interrupted", run)
    job, dashboard = run.task["job"], run.task["dashboard"]
    client = JobSubmissionClient(dashboard)
    assert client.get_job_status(job) == "RUNNING"
    with pytest.raises(runs.RunError, match="resume it first"):
        jobs.rename(run, "other")
    jobs.delete(run)
    assert not run.folder.exists()
    assert client.get_job_status(job) == "STOPPED"
    shelves = list_actors(
        dashboard, filters=[("class_name", "=", "Shelf"), ("state", "=", "ALIVE")]
    )
    assert not shelves


def test_a_run_whose_cluster_is_gone_is_deleted_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    config = TrainingConfig(**for_network("cnn", name="left"))
    on = [devices.on_cluster("127.0.0.1:9")]
    run = jobs.create(config, tmp_path / "chest_xray", on=on, models=tmp_path)
    run.save_task(run.task | {"job": "raysubmit_1"})
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setattr(runs, "MODELS", tmp_path)
    monkeypatch.setattr(runs, "unfinished", lambda *_: [run])
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page.switch_page("pages/training.py")
    page.query_params["training_tab"] = "In progress"
    page.run()
    page.button(key="delete_left").click().run()
    assert not page.exception
    (error,) = page.error
    message = error.value.replace("\\", "")
    assert "raysubmit_1" in message
    assert "No cluster answers at 127.0.0.1:9" in message
    assert page.run().error, "it is gone with the next look, two seconds later"
    assert run.exists
    asked = ["delete", "left", "--models", tmp_path]
    assert "--leave-job" in complaint(*asked)
    assert run.exists
    deleting = cxrlib(*asked, "--leave-job")
    deleting.communicate(timeout=SECONDS)
    assert deleting.returncode == 0
    assert not run.folder.exists()


def test_a_wrong_address_is_one_clear_sentence(drawn: Path, tmp_path: Path) -> None:
    asked = ["predict", drawn, "--out", tmp_path / "x.csv", "--cluster"]
    assert "No cluster answers at 127.0.0.1:9" in complaint(*asked, "127.0.0.1:9")
    assert "is no address of a cluster" in complaint(*asked, "somewhere")

    class Web(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Web) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{other.server_port}"
        assert f"What answers at {address} is no cluster" in complaint(*asked, address)
        other.shutdown()


# Has the cluster say that it is of another version until a line is read.
PRETEND = """
import json, sys, ray
from ray.experimental import internal_kv as kv
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
def say(about):
    kv._internal_kv_put(b"CLUSTER_METADATA", about, namespace=b"cluster")
true = kv._internal_kv_get(b"CLUSTER_METADATA", namespace=b"cluster")
say(json.dumps(json.loads(true) | {"ray_version": "2.0.1"}).encode())
print("pretends", flush=True)
input()
say(true)
"""


def test_a_cluster_of_another_version_is_one_clear_sentence(
    cluster, drawn: Path, tmp_path: Path
) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PRETEND, cluster.address], **pipes) as pretending:
        assert pretending.stdout.readline() == "pretends\n"
        message = complaint(
            "predict", drawn, "--out", tmp_path / "x.csv", "--cluster", cluster.address
        )
        pretending.communicate("\n", timeout=SECONDS)
    assert "runs Ray 2.0.1" in message
    assert f"this machine Ray {importlib.metadata.version('ray')}" in message


def test_a_node_without_the_data_set_is_one_clear_sentence(cluster, tmp_path: Path) -> None:
    asked = ["--models", tmp_path, "--name", "none", "--cluster", cluster.address]
    message = complaint("train", "--data", "/nowhere/chest_xray", *asked)
    assert message.startswith("The node ")
    assert "has no /nowhere/chest_xray" in message
    assert not (tmp_path / "none").exists(), "a run that never began was left"


def test_a_trial_larger_than_any_node_is_one_clear_sentence(
    cluster, phantoms: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(f"cpus = 64\n{POOR}", encoding="utf-8")
    asked = ["--data", phantoms, "--models", tmp_path, "--cluster", cluster.address]
    assert "A trial takes 64 CPUs, and no node has more than 1" in complaint("sweep", file, *asked)


def test_the_page_offers_the_cluster_as_a_device(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamlit.testing.v1 import AppTest

    asked = []
    monkeypatch.setenv("CXR_CLUSTER", "head:6379")
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    monkeypatch.setenv("CXR_TRAINING", "on")
    monkeypatch.setattr(jobs, "create", lambda *_, on: asked.append(on))
    monkeypatch.setattr(jobs, "launch", lambda run: None)
    cluster = devices.found()[-1]
    # AppTest cannot choose among options that are objects: the last one is the only one.
    monkeypatch.setattr(devices, "found", lambda: [cluster])
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    page = page.switch_page("pages/training.py").run()
    assert not page.exception
    (start,) = (button for button in page.button if button.label == "Start training")
    start.click().run()
    assert asked == [["cluster:head:6379"]]

"""Runs in the background: start, follow, stop, resume.

A run has a process of its own, which outlives the page and the server that started it. It trains
on this machine's devices, or has a cluster train and follows (`cluster_jobs`). All that is known of
the run is in its folder either way, so any number of pages, and the command line, see the same.
A run that waits for its devices has no process: `start_waiting` starts it when it is its turn, at
the end of another run and while a page looks on. No TensorFlow here: the process that trains loads
it.

Two kinds of file locks, which the system lets go of however a process ends: a run's says whether
anyone works on it, and no reused process id can mislead; a device's is held by the one run that
trains on it.

What `state` answers, and what leads from one to the next::

    start ──> queued ──its turn──> running ──files written──> finished
                 ^                    │
                 │                    ├──asked to stop──> stopped ────────┐
                 │                    ├──an error───────> failed ─────────┤
                 │                    └──process gone───> interrupted ────┤
                 └─────────────────────────resume─────────────────────────┘

A queued run that is asked to stop is stopped at once.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from cxrlib import runs, urls
from cxrlib.images.preprocess import cache_folder
from cxrlib.runs import ensembles
from cxrlib.runs.config import TrainingConfig, default_name
from cxrlib.runs.folder import Run, RunError, StoppedError
from cxrlib.training import devices, practice
from cxrlib.training.failures import Reported

State = Literal["queued", "running", "stopped", "failed", "finished", "interrupted"]

_PROJECT = Path(__file__).resolve().parents[2]
MOST_WAITING = 20
_QUEUE_SECONDS = 0.5
_WAITING = "waiting"  # what a run without a process does; one with a process is "queued"
# Long enough to outlast another page's look at the lock.
_LOOK_SECONDS = 0.03


def allowed(secrets: Mapping[str, Mapping[str, object]], *, local: bool) -> bool:
    """Whether a visitor of this app may start, delete and download.

    ``CXR_TRAINING=on|off`` decides, else ``[training] enabled`` in Streamlit's secrets, and what is
    neither on nor true is off. Otherwise it may who sits at this machine, or has to log in; nobody
    on Streamlit Community Cloud, where everyone shares one small machine.

    Args:
        secrets: Streamlit's.
        local: whether the visitor's browser runs on this machine.
    """
    if asked := os.environ.get("CXR_TRAINING", "").strip():
        return asked.lower() == "on"
    if "enabled" in secrets.get("training", {}):
        return secrets["training"]["enabled"] is True
    # Where Community Cloud keeps the apps that it runs.
    return not _PROJECT.is_relative_to("/mount/src") and (local or "auth" in secrets)


def state(run: Run) -> State:
    """Where a run stands: ``interrupted`` is one whose process went without a word."""
    if run.finished:
        return "finished"
    activity = run.progress.get("activity")
    if alive(run):
        return "queued" if activity == "queued" else "running"
    if run.finished:  # it ended between the two looks
        return "finished"
    if run.failure:
        return "failed"
    if run.stopped or (activity == _WAITING and run.stop_requested):
        return "stopped"
    return "queued" if activity == _WAITING else "interrupted"


def alive(run: Run) -> bool:
    """Whether a process works on the run, or waits for its turn."""
    if not run.lock_file.exists():
        return False
    try:
        with FileLock(run.lock_file).acquire(timeout=_LOOK_SECONDS, poll_interval=0.01):
            return False
    except Timeout:
        return True


def create(
    config: TrainingConfig,
    data: str | Path,
    *,
    on: Sequence[str] | None = None,
    models: Path = runs.MODELS,
) -> Run:
    """Make the folder of a run that is to be trained.

    Args:
        config: what to do.
        data: a data-set folder, or the URL of one.
        on: ids of `devices.found`; by default the first, or with ``config.distribute`` all GPUs.
        models: where the run's folder goes.

    Raises:
        RunError: there is a run of that name, or too many wait already.
    """
    waiting = [run.name for run in runs.unfinished(models) if state(run) == "queued"]
    if len(waiting) >= MOST_WAITING:
        raise RunError(
            f"{len(waiting)} runs wait to be trained already, which is the most. Wait for one of "
            f"them, or stop one: {', '.join(waiting)}."
        )
    if on is None:
        known = devices.found()
        gpus = [device.id for device in known if device.is_gpu]
        on = gpus if config.distribute else [known[0].id]
    name = config.name or default_name(config)
    place = urls.absolute(str(data))
    if not config.name and place == str(practice.folder()):
        name = f"synthetic-{name}"  # so that every list of runs says so
    run = runs.create(name, models=models)
    run.save_config(config.for_record(run.name).model_dump_json(indent=1))
    run.save_task(
        {
            "config": config.model_dump() | {"name": run.name, "weights": _absolute(config)},
            "data": place,
            "devices": sorted(on) or ["cpu"],
            "queued": time.time(),
        }
    )
    return run


def _absolute(config: TrainingConfig) -> str:
    if config.weights in ("imagenet", "none"):
        return config.weights
    return str(Path(config.weights).resolve())


def launch(run: Run) -> None:
    """Work on an unfinished run in a process of its own, as soon as its devices are free.

    Returns when the process has taken it over, or the run waits.

    Raises:
        RunError: a process works on it already.
    """
    if alive(run):
        raise RunError(f"The run {run.name} is being trained already.")
    run.clear_marks()
    run.write_progress(_WAITING)
    start_waiting(run.folder.parent)


def start_waiting(models: Path) -> None:
    """Start the runs that wait and whose devices are free, the one that waits longest first."""
    for run in reversed(runs.unfinished(models)):
        # It was deleted meanwhile, or its disk is full: another one may start.
        with suppress(RunError, OSError):
            if state(run) == "queued" and not alive(run) and not ahead(run):
                _start(run)


def ahead(run: Run) -> str:
    """The name of what a run that waits is waiting for; empty where it may start.

    A cluster has a queue of its own.
    """
    if devices.cluster_address(run.task["devices"]):
        return ""
    return next(filter(None, (_ahead(run, device) for device in run.task["devices"])), "")


def _ahead(run: Run, device: str) -> str:
    """What has a device before a run: a run's name, or words for one of another folder."""
    since = run.task["queued"]

    def is_ahead(other: Run) -> bool:
        if device not in other.task["devices"]:
            return False
        now = state(other)
        return now == "running" or (now == "queued" and other.task["queued"] < since)

    for other in runs.unfinished(run.folder.parent):
        with suppress(RunError, FileNotFoundError):  # it was deleted meanwhile
            if other.name != run.name and is_ahead(other):
                return other.name
    try:
        with _device_lock(device).acquire(timeout=0):
            return ""
    except Timeout:
        return "a run of another models folder"


def _device_lock(device: str) -> FileLock:
    folder = cache_folder() / "devices"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{device.replace(':', '-')}.lock")


def _start(run: Run) -> None:
    command = [sys.executable, "-m", "cxrlib", "train", "--resume", run.name]
    # The log keeps a progress bar's latest states only every ten seconds.
    environment = os.environ | {"TQDM_MININTERVAL": "10", "PYTHONUNBUFFERED": "1"}
    with run.log_file.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--models", str(run.folder.parent)],
            cwd=_PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and not alive(run):
        time.sleep(0.05)


def rename(run: Run, name: str) -> Run:
    """Give a run another name.

    Raises:
        RunError: it is being trained, an ensemble needs it, or the name will not do.
    """
    _idle(run)
    if has_job(run):
        raise RunError(
            f"A cluster is still training the run {run.name} under this name: resume it first."
        )
    _unneeded(run)
    return runs.rename(run, name)


def delete(run: Run, *, leave_job: bool = False) -> None:
    """Remove a run; a cluster that is still training it is stopped first.

    Args:
        run: one that no process of this machine works on.
        leave_job: do not stop its job on a cluster, which may be gone.

    Raises:
        RunError: it is being trained, an ensemble needs it, it is the shipped one, or the cluster
            cannot be reached.
    """
    _idle(run)
    _unneeded(run)
    if has_job(run) and not leave_job:
        try:
            cancel_job(run)
        except RunError as error:
            raise RunError(
                f"{error} (To delete the run all the same: python -m cxrlib delete {run.name} "
                "--leave-job)"
            ) from error
    runs.delete(run)


def has_job(run: Run) -> bool:
    """Whether a cluster was asked to train the run and may still be at it."""
    return run.pending and bool(run.task.get("job"))


def cancel_job(run: Run) -> None:
    """Stop a cluster that is still training a run which nobody follows.

    In a process of its own: one that was connected to a cluster cannot be to another.

    Raises:
        RunError: it is followed, or the cluster cannot be reached.
    """
    _idle(run)
    command = [sys.executable, "-m", "cxrlib.training.cluster_jobs", str(run.folder)]
    ended = subprocess.run(command, cwd=_PROJECT, capture_output=True, text=True)
    if ended.returncode:
        reason = ended.stderr.strip().splitlines()[-1]
        raise RunError(
            f"The job {run.task['job']} of the run {run.name} may still be running: {reason}"
        )


def _idle(run: Run) -> None:
    if alive(run):
        raise RunError(f"The run {run.name} is being trained: stop it first.")


def _unneeded(run: Run) -> None:
    if found := ensembles.needing(run):
        raise RunError(
            f"{' and '.join(found)}, a mean of runs, needs {run.name} under this name. Delete "
            f"{'them' if len(found) > 1 else 'it'} first."
        )


def as_h5(run: Run) -> bytes:
    """A finished run's network in Keras' older format, made by a process of its own."""
    with tempfile.TemporaryDirectory(prefix="cxrlib-") as folder:
        file = Path(folder) / "model.h5"
        command = [sys.executable, "-m", "cxrlib", "export", "--run", str(run.folder)]
        subprocess.run([*command, "--out", str(file)], cwd=_PROJECT, check=True)
        return file.read_bytes()


def work(run: Run) -> None:
    """Train an unfinished run in this process, when its devices are free.

    A first interrupt or termination signal is a request to stop.

    Raises:
        StoppedError: it was asked to stop.
        RunError: another process works on it.
        Exception: whatever training raises; the reason is kept with the run.
    """
    try:
        lock = FileLock(run.lock_file).acquire(timeout=2)
    except Timeout as error:
        raise RunError(f"The run {run.name} is being trained already.") from error
    with (
        _then_start_waiting(run),
        lock,
        Reported(run),
        _stopped_by_signals(run),
        ExitStack() as held,
    ):
        run.clear_marks()
        task = run.task
        if devices.cluster_address(task["devices"]):
            from cxrlib.training.cluster_jobs import follow

            follow(run)
            return
        for device in task["devices"]:
            held.enter_context(_hold_device(run, device))
        devices.use(task["devices"])
        train_now(
            run,
            TrainingConfig(**task["config"]),
            task["data"],
            gpu=task["devices"] != ["cpu"],
        )


def train_now(run: Run, config: TrainingConfig, data: str, *, gpu: bool) -> None:
    """Train a run on the devices that this process sees.

    Args:
        run: an unfinished one.
        config: what to do.
        data: path or URL of a data set.
        gpu: whether it is to have one.

    Raises:
        TrainingError: it is to have a GPU, and Keras can use none.
        Exception: as `train`.
    """
    from cxrlib.training.environment import gpus
    from cxrlib.training.train import TrainingError, train

    if gpu and not gpus():
        raise TrainingError(
            "There is a GPU, but Keras cannot use it: install its CUDA libraries "
            "(pip install 'tensorflow[and-cuda]'), or train on the CPU."
        )
    if data == str(practice.folder()) and not practice.folder().is_dir():
        what = "drawing synthetic radiographs"
        practice.draw(lambda done: run.write_progress(what, done=done, of=practice.PATIENTS))
    train(config, data, run=run)


@contextmanager
def _then_start_waiting(run: Run) -> Iterator[None]:
    try:
        yield
    finally:
        start_waiting(run.folder.parent)


@contextmanager
def _stopped_by_signals(run: Run) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        run.request_stop()
        signal.signal(number, before[signal.Signals(number)])  # a second one ends the process

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _hold_device(run: Run, device: str) -> Iterator[None]:
    """Hold a device, when it is free and no earlier run waits for it."""
    lock = _device_lock(device)
    run.write_progress("queued", device=device)
    told = ""
    while True:
        if run.stop_requested:
            run.mark_stopped()
            raise StoppedError
        first = _ahead(run, device)
        if not first:
            with suppress(Timeout):
                lock.acquire(timeout=0)
                break
        elif first != told:
            print(f"Waiting for {device}, which {first} has first.", file=sys.stderr, flush=True)
            told = first
        start_waiting(run.folder.parent)  # what is ahead may have no process yet
        time.sleep(_QUEUE_SECONDS)
    try:
        yield
    finally:
        lock.release()

"""A sweep's trials, trained one after the other on this machine; and sweeps in the background."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cxrlib import runs
from cxrlib.runs import sweeps
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.runs.sweeps import Sweep, SweepError, Trial
from cxrlib.training import jobs

_PROJECT = Path(__file__).resolve().parents[2]
_LOOK_SECONDS = 0.5


def train_here(known: Sequence[Trial], data: str, models: Path) -> None:
    """Train the trials that are not finished, each as an ordinary run in the background.

    A trial that fails is left as it is, and the next one follows.

    Raises:
        StoppedError: a trial was asked to stop, here by an interrupt or on the page.
    """
    for number, trial in enumerate(known, start=1):
        if trial.over:
            continue
        print(f"{number} of {len(known)}: {trial.run.name}", file=sys.stderr, flush=True)
        run = trial.run
        if not run.pending:
            run = jobs.create(trial.config, data, models=models)
        if not jobs.alive(run):
            jobs.launch(run)
        state = _wait(run)
        if state == "stopped":
            raise StoppedError
        if state != "finished":
            print(f"{run.name}: {run.failure or state}", file=sys.stderr, flush=True)


def _wait(run: Run) -> jobs.State:
    """Where a run stands when nobody works on it any longer."""
    try:
        while (state := jobs.state(run)) in ("queued", "running"):
            time.sleep(_LOOK_SECONDS)
        return state
    except KeyboardInterrupt:
        run.request_stop()
        return _wait(run)


def report(sweep: Sweep, known: Sequence[Trial]) -> str:
    """The trials and the best of them, for a person."""
    lines = [sweeps.table(sweep, known).drop(columns="auc").to_string(index=False)]
    if found := sweeps.best(known):
        first, equals = found
        lines.append(f"\nBest by validation: {first.run.name}, AUC {first.validation_auc}.")
        if equals:
            names = " and ".join(trial.run.name for trial in equals)
            lines.append(f"Its interval reaches {names}: validation does not tell them apart.")
    return "\n".join(lines)


@contextmanager
def held(sweep: Sweep, models: Path) -> Iterator[None]:
    """While in it, this process is the one that works on the sweep.

    Raises:
        SweepError: another one does.
    """
    sweeps.keep(sweep, models)
    lock = FileLock(sweeps.file_of(sweep.name, models, ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise SweepError(f"The sweep {sweep.name} is running already.") from error
    with lock:
        # A server in the background may have been told to ignore it, and so would what it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _pid_file(sweep, models).write_text(str(os.getpid()), encoding="ascii")
        yield


def _pid_file(sweep: Sweep, models: Path) -> Path:
    return sweeps.file_of(sweep.name, models, ".pid")


def alive(sweep: Sweep, models: Path) -> bool:
    """Whether a process works on the sweep."""
    try:
        with FileLock(sweeps.file_of(sweep.name, models, ".lock")).acquire(timeout=0):
            return False
    except Timeout:
        return True


def launch(sweep: Sweep, models: Path) -> None:
    """Work on a sweep in a process of its own, which outlives this one.

    Raises:
        SweepError: it cannot be started, or is running already.
    """
    sweeps.trials(sweep, models)
    if alive(sweep, models):
        raise SweepError(f"The sweep {sweep.name} is running already.")
    sweeps.keep(sweep, models)
    file = sweeps.file_of(sweep.name, models)
    command = [sys.executable, "-m", "cxrlib", "sweep", str(file), "--models", str(models)]
    with file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while process.poll() is None and not alive(sweep, models):
        time.sleep(0.05)
    if process.returncode == 2:
        printed = file.with_suffix(".log").read_text(encoding="utf-8").strip()
        raise SweepError(printed.splitlines()[-1])


def delete(sweep: Sweep, models: Path) -> None:
    """Forget a sweep. Its runs stay, but for those that were stopped early: no other list has them.

    Raises:
        SweepError: it is running.
    """
    if alive(sweep, models):
        raise SweepError(f"The sweep {sweep.name} is running: stop it first.")
    with suppress(SweepError):  # runs of these names are not the sweep's
        for trial in sweeps.trials(sweep, models):
            if trial.state == "stopped early":
                runs.delete(trial.run)
    for ending in (".json", ".log", ".pid", ".lock"):
        sweeps.file_of(sweep.name, models, ending).unlink(missing_ok=True)


def log_tail(sweep: Sweep, models: Path, lines: int = 12) -> str:
    """The last lines of what the sweep's process in the background printed."""
    file = sweeps.file_of(sweep.name, models, ".log")
    if not file.exists():
        return ""
    return "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def stop(sweep: Sweep, models: Path) -> None:
    """Ask the process that works on the sweep to stop, as an interrupt at its terminal does."""
    if alive(sweep, models):
        os.kill(int(_pid_file(sweep, models).read_text(encoding="ascii")), signal.SIGINT)

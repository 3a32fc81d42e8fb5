"""The folder of runs: what is in it, and how runs come, change their names and go."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

from cxrlib.runs.folder import Run, RunError

_SHIPPED_MODELS = Path(__file__).resolve().parents[2] / "models"
MODELS = Path(os.environ.get("CXR_MODELS_DIR", _SHIPPED_MODELS)).resolve()
SHIPPED = "evidence"
# In a folder of its own, so that it does not stand among the runs that read for pneumonia; and
# always the project's, wherever runs are kept.
SHIPPED_LUNGS = _SHIPPED_MODELS / "lungs" / "unet-128"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """``name`` itself, where it can name a run's folder.

    Raises:
        RunError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise RunError(
            "A run's name has up to 64 letters, digits, dots, dashes and underscores, "
            "and starts with a letter or digit."
        )
    return name


def create(name: str, *, models: Path = MODELS) -> Run:
    """Make the folder of a new run, marked unfinished.

    Raises:
        RunError: a run of that name exists.
    """
    folder = models / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError as error:
        raise _taken(name, models) from error
    run = Run(folder)
    run.mark_unfinished()
    return run


def rename(run: Run, name: str) -> Run:
    """Give a run that nobody works on another name.

    Raises:
        RunError: the name is taken or cannot name a folder, the run's configuration is damaged,
            or the run is the shipped one.
    """
    _keep_shipped(run)
    config = run.config | {"name": name}
    folder = run.folder.parent / check_name(name)
    try:
        # A folder cannot replace another that has files in it; every run has.
        run.folder.rename(folder)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        raise _taken(name, run.folder.parent) from error
    renamed = Run(folder)
    renamed.save_config(json.dumps(config, indent=1))
    return renamed


def delete(run: Run) -> None:
    """Remove a run that nobody works on, with all that it learned.

    Raises:
        RunError: the run is the shipped one.
    """
    _keep_shipped(run)
    # Broken off half way, it shall not pass for finished.
    run.mark_unfinished()
    shutil.rmtree(run.folder)


def _keep_shipped(run: Run) -> None:
    if run.name == SHIPPED:
        raise RunError(
            f"The run {SHIPPED} is shipped with the project and read by default: it stays as it is."
        )


def _taken(name: str, models: Path) -> RunError:
    return RunError(f"There is a run called {name} already in {models}. Choose another name.")


def find(name: str | Path, *, models: Path = MODELS) -> Run:
    """A finished run by name, or by the path of its folder.

    Raises:
        RunError: there is none, or it is unfinished or damaged.
    """
    for folder in (models / name, Path(name)):
        run = Run(folder.resolve())
        if run.exists:
            if not run.finished:
                raise RunError(f"The run {run.name} is unfinished: train it to its end first.")
            run.check()
            return run
    known = ", ".join(run.name for run in finished(models)) or "none"
    raise RunError(f"There is no run called {name}. Finished runs in {models}: {known}.")


def finished(models: Path = MODELS) -> list[Run]:
    """The finished runs, the shipped one first, then by name; of damaged ones `Run.problem` says
    what is wrong.
    """
    found = [run for run in _all(models) if run.finished]
    return sorted(found, key=lambda run: (run.name != SHIPPED, run.name))


def unfinished(models: Path = MODELS) -> list[Run]:
    """The runs that were not trained to their end (yet), the latest first."""
    found = [run for run in _all(models) if run.pending]
    return sorted(found, key=lambda run: run.requested_at, reverse=True)


def _all(models: Path) -> list[Run]:
    return [Run(folder) for folder in models.glob("*/")]


def find_unfinished(name: str, *, models: Path = MODELS) -> Run:
    """A run to resume, by name.

    Raises:
        RunError: there is none of that name, or it is finished, or it was started elsewhere.
    """
    run = Run((models / check_name(name)).resolve())
    if run.finished:
        raise RunError(f"The run {name} is finished: there is nothing to resume.")
    if not run.pending:
        known = ", ".join(run.name for run in unfinished(models)) or "none"
        raise RunError(f"There is no run {name} to resume. Unfinished runs: {known}.")
    return run

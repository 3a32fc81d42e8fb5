"""A sweep's trials, trained one after the other on this machine."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cxrlib.runs import sweeps
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.runs.sweeps import Sweep, Trial
from cxrlib.training import jobs

_LOOK_SECONDS = 0.5


def train_here(known: Sequence[Trial], data: Path, models: Path) -> None:
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

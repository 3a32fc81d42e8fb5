"""A sweep's trials on a Ray cluster: several at once, and poor ones stopped early (ASHA).

Ray Tune places the trials and decides which of them go on (Li et al., MLSys 2020, "A system for
massively parallel hyperparameter tuning"). Each trains in a node's own copy of its run's folder, as
a job does; what changes there comes here whenever an epoch is finished.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Tune's own account would stand beside that of the trials.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from filelock import FileLock
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from cxrlib import cluster
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.runs.sweeps import Sweep, Trial
from cxrlib.training import devices, jobs, practice
from cxrlib.training.cluster_jobs import lay_on_shelf
from cxrlib.training.failures import Reported
from cxrlib.training.shelf import FIRST, Carrier, Order, data_of, take_down, unpack

if TYPE_CHECKING:
    import pandas as pd

_FAILURES = 3  # of a trial's nodes
_SHELF_SECONDS = 60


def train_there(
    sweep: Sweep, known: Sequence[Trial], data: str, models: Path, address: str
) -> None:
    """Train the trials that are not finished on a cluster that this process is connected to.

    Args:
        sweep: says what a trial takes, and how poor ones are stopped.
        known: the trials.
        data: path of a data set that every node sees, or its URL.
        models: where their runs go.
        address: the cluster's.

    Raises:
        ClusterError: a node does not see the data set, or none is large enough for a trial.
    """
    if data != str(practice.folder()):
        cluster.check_nodes([data])
    import ray

    rest = [number for number, trial in enumerate(known) if not trial.over]
    if not rest:
        return
    gpus = sweep.gpus if ray.cluster_resources().get("GPU") else 0
    _check_size("CPU", sweep.cpus)
    _check_size("GPU", gpus)
    longest = max(one.config.head_epochs + one.config.fine_tune_epochs for one in known)
    scheduler = FIFOScheduler()
    if sweep.reduction > 1:
        scheduler = ASHAScheduler(
            time_attr="epochs",
            max_t=longest + 1,  # who gets so far is stopped: nobody does
            grace_period=min(sweep.grace_epochs, longest),
            reduction_factor=sweep.reduction,
        )
    # What an earlier process left, had it been killed, is not taken for this one's.
    names = [f"{trial.run.name}-{time.time()}" for trial in known]
    train = partial(_train, names=names, cpus=sweep.cpus)
    with tempfile.TemporaryDirectory(prefix="cxrlib-") as place:
        tune.Tuner(
            tune.with_resources(train, {"cpu": sweep.cpus, "gpu": gpus}),
            param_space={"number": tune.grid_search(rest)},
            tune_config=tune.TuneConfig(
                metric="validation_auc", mode="max", scheduler=scheduler, num_samples=1
            ),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=place,
                verbose=0,
                callbacks=[_Home(known, names, data, models, address, gpu=gpus > 0)],
                failure_config=tune.FailureConfig(max_failures=_FAILURES),
            ),
        ).fit()


def _check_size(kind: str, wanted: float) -> None:
    """That a node has as many cores or GPUs as a trial takes; it would wait for ever."""
    import ray

    most = max(node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"])
    if wanted > most:
        raise cluster.ClusterError(
            f"A trial takes {wanted:g} {kind}s, and no node has more than {most:g}: set "
            f"{kind.lower()}s in the sweep's file."
        )


class _Home(tune.Callback):
    """Keeps the runs' folders here as their trials go on; called in this process."""

    def __init__(
        self,
        known: Sequence[Trial],
        names: Sequence[str],
        data: str,
        models: Path,
        address: str,
        *,
        gpu: bool,
    ) -> None:
        self._known, self._names, self._data, self._models = known, names, data, models
        self._on, self._gpu = [devices.on_cluster(address)], gpu
        self._shelves: dict[int, Any] = {}
        self._seen: dict[int, int] = {}
        self._locks: dict[int, FileLock] = {}

    def on_trial_start(self, iteration: int, trials: list, trial: Any, **_: object) -> None:
        number = trial.config["number"]
        if number in self._shelves:
            return  # its node was lost
        run = self._known[number].run
        print(f"{number + 1} of {len(self._known)}: {run.name}", file=sys.stderr, flush=True)
        if not run.pending:
            jobs.create(self._known[number].config, self._data, on=self._on, models=self._models)
        self._locks[number] = FileLock(run.lock_file)
        self._locks[number].acquire(timeout=2)
        run.clear_marks()
        self._shelves[number] = lay_on_shelf(run, self._names[number], gpu=self._gpu)
        self._seen[number] = FIRST

    def on_trial_result(
        self, iteration: int, trials: list, trial: Any, result: dict, **_: object
    ) -> None:
        number = trial.config["number"]
        self._fetch(number)
        if self._known[number].run.stop_requested:
            self._shelves[number].request_stop.remote()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **_: object) -> None:
        number = trial.config["number"]
        self._fetch(number)
        run = self._known[number].run
        if run.pending and not (run.stopped or run.failure):
            run.give_up()
        if not run.finished:
            why = run.failure or self._known[number].state
            print(f"{run.name}: {why}", file=sys.stderr, flush=True)
        self._end(number)

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **_: object) -> None:
        number = trial.config["number"]
        self._fetch(number)
        print(f"{self._known[number].run.name}: lost with its nodes", file=sys.stderr, flush=True)
        self._end(number)

    def on_experiment_end(self, trials: list, **_: object) -> None:
        for number in list(self._shelves):
            self._fetch(number)
            self._end(number)

    def _fetch(self, number: int) -> None:
        run = self._known[number].run
        self._seen[number] = take_down(run, self._shelves[number], self._seen[number])

    def _end(self, number: int) -> None:
        import ray

        ray.kill(self._shelves.pop(number))
        self._locks.pop(number).release()


@dataclass(frozen=True)
class _ReportingRun(Run):
    """A run that tells Ray Tune of each epoch; that is where a trial may be stopped."""

    carrier: Carrier

    def save_history(self, history: "pd.DataFrame") -> None:
        super().save_history(history)
        self.carrier.carry()  # of a trial that is stopped nothing comes home afterwards
        tune.report({"validation_auc": float(history.val_auc.max()), "epochs": len(history)})


def _train(asked: dict[str, int], *, names: Sequence[str], cpus: float) -> None:
    """Train one trial, on a node."""
    import ray

    os.environ["TF_NUM_INTRAOP_THREADS"] = str(max(int(cpus), 1))
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # trials may share a GPU
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    shelf = _shelf(names[asked["number"]])
    wanted: Order = ray.get(shelf.order.remote())
    # In the folder that Ray gives the trial: a trial that is stopped cannot clear up.
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        run, config = unpack(wanted, shelf, Path(place))
        with Carrier(run, shelf) as carrier, _logged(), Reported(run):
            run.clear_marks()
            reporting = _ReportingRun(run.folder, carrier)
            jobs.train_now(reporting, config, data_of(wanted), gpu=wanted.gpu)


@contextmanager
def _logged() -> Iterator[None]:
    """End a trial that failed, whatever the reason, which `Reported` has kept in its folder.

    What is raised here Tune would take for a lost node, and train the trial again.
    """
    try:
        yield
    except StoppedError:
        pass
    except Exception:
        logging.exception("The trial failed.")


def _shelf(name: str) -> Any:
    """The trial's shelf, which is made when the trial is started."""
    import ray

    deadline = time.monotonic() + _SHELF_SECONDS
    while True:
        try:
            return ray.get_actor(name)
        except ValueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)

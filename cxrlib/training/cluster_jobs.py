"""Trains a run as a job of a Ray cluster, and follows it until it is finished here.

The process that follows stands in for the one that would train: it holds the run's lock, prints the
job's log, and brings the folder's files here as they change. Should it end, the job runs on, and
resuming the run follows the same job again. A job whose node is lost is submitted again and resumes
from the last checkpoint.

``python -m cxrlib.training.cluster_jobs FOLDER`` cancels the job of the run in a folder.
"""

import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cxrlib import cluster
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.training import devices, practice
from cxrlib.training.errors import TrainingError
from cxrlib.training.shelf import FIRST, Shelf, order, take_down

_SECONDS = 0.5
_LOG_SECONDS = 5.0  # the whole log comes each time
_TRIES = 3
_SUBMIT_SECONDS = 240
_STOP_SECONDS = 30


def follow(run: Run) -> None:
    """Have a cluster train an unfinished run.

    Raises:
        StoppedError: it was asked to stop.
        ClusterError: the cluster cannot be reached, or a node lacks the data set.
        TrainingError: training failed there, with the reason.
    """
    run.write_progress("queued")
    _Following(run, _connect(run)).to_the_end()


def cancel(run: Run) -> None:
    """Stop the job that trains a run, and forget it; to be called where nobody follows it.

    Raises:
        ClusterError: the cluster cannot be reached, or does not stop it.
    """
    client, job = _connect(run), run.task["job"]
    import ray

    # A cluster that was restarted knows none of the earlier jobs.
    if job in {known.submission_id for known in client.list_jobs()}:
        client.stop_job(job)
        deadline = time.monotonic() + _STOP_SECONDS
        while not client.get_job_status(job).is_terminal():
            if time.monotonic() > deadline:
                raise cluster.ClusterError(
                    f"It was asked to stop and did not. Try: ray job stop {job} "
                    f"--address {client.get_address()}"
                )
            time.sleep(_SECONDS)
    with suppress(ValueError):  # there is none
        ray.kill(ray.get_actor(_shelf_name(run)))
    run.save_task({**run.task, "job": ""})


def _connect(run: Run) -> Any:
    """A client for jobs of the cluster that trains a run.

    Raises:
        ClusterError: it cannot be reached, or takes no jobs.
    """
    address = devices.cluster_address(run.task["devices"])
    cluster.connect(address)
    from ray.job_submission import JobSubmissionClient

    try:
        return JobSubmissionClient(address)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise cluster.ClusterError(
            f"The cluster at {address} takes no jobs, because its dashboard does not answer. "
            "Install requirements-cluster.txt on its head and restart it: ray start --head"
        ) from error


def _shelf_name(run: Run) -> str:
    return f"{run.name}-{run.task['queued']}"


class _Following:
    def __init__(self, run: Run, client: Any) -> None:
        self._run, self._client = run, client
        self._cpus, self._gpus = _share(distribute=run.task["config"]["distribute"])
        self._name = _shelf_name(run)
        self._shelf, self._seen = self._find_shelf()
        self._printed = 0

    def _find_shelf(self) -> tuple[Any, int]:
        """The shelf of the job that is followed again, or a new one with the run's files on it;
        and the number of the last change that is known here."""
        import ray

        try:
            return ray.get_actor(self._name), -1
        except ValueError:
            pass
        data = self._run.task["data"]
        cluster.check_nodes([] if data == str(practice.folder()) else [data])
        self._run.save_task({**self._run.task, "job": ""})
        shelf = lay_on_shelf(self._run, self._name, gpu=self._gpus > 0, lifetime="detached")
        return shelf, FIRST

    def to_the_end(self) -> None:
        import ray

        for _ in range(_TRIES):
            try:
                job = self._run.task.get("job") or self._submit()
            except (cluster.ClusterError, StoppedError):
                ray.kill(self._shelf)
                raise
            self._wait(job)
            if self._run.finished or self._run.stopped or self._run.failure:
                break
            self._run.save_task({**self._run.task, "job": ""})
            if not ray.get(self._shelf.taken.remote()):
                break  # it would not start the next time either
            print("The job was lost with its node; it is submitted again.", flush=True)
        ray.kill(self._shelf)
        if self._run.finished:
            return
        self._run.save_task({**self._run.task, "job": ""})
        if self._run.stopped:
            raise StoppedError
        raise TrainingError(
            self._run.failure
            or f"The job ended without a result: {self._client.get_job_info(job).message} The log "
            "says more. Resume to try again."
        )

    def _submit(self) -> str:
        threads = str(max(int(self._cpus), 1))
        job = self._submitted(
            entrypoint=f"python -m cxrlib.training.remote {shlex.quote(self._name)}",
            entrypoint_num_cpus=self._cpus,
            entrypoint_num_gpus=self._gpus,
            metadata={"run": self._run.name},
            runtime_env={
                "env_vars": {
                    "OMP_NUM_THREADS": threads,  # Ray would say 1
                    "TF_NUM_INTRAOP_THREADS": threads,
                    "TF_CPP_MIN_LOG_LEVEL": "2",
                    "TQDM_MININTERVAL": "10",
                    "PYTHONUNBUFFERED": "1",
                }
            },
        )
        dashboard = self._client.get_address()
        self._run.save_task({**self._run.task, "job": job, "dashboard": dashboard})
        print(f"Job {job}: {dashboard}", flush=True)
        return job

    def _submitted(self, **options: Any) -> str:
        """A job's id; a node that has just been started takes none for some seconds."""
        deadline = time.monotonic() + _SUBMIT_SECONDS
        while True:
            try:
                return self._client.submit_job(**options)
            except RuntimeError as error:
                if self._run.stop_requested:
                    self._run.mark_stopped()
                    raise StoppedError from error
                if time.monotonic() > deadline:
                    raise cluster.ClusterError(
                        f"The cluster takes no jobs now: {error} Resume to try again."
                    ) from error
                time.sleep(_SECONDS)

    def _wait(self, job: str) -> None:
        """Bring here what the job does until it ends, whichever way."""
        import ray

        self._printed, passed_on, log_due = 0, False, 0.0
        while True:
            try:
                status = self._client.get_job_status(job)
                self._seen = take_down(self._run, self._shelf, self._seen)
            except (OSError, RuntimeError, ray.exceptions.RayError) as error:
                raise cluster.ClusterError(
                    "The cluster does not answer any longer. Resume when it is back: what was "
                    "learned until then is kept."
                ) from error
            if status.is_terminal() or time.monotonic() > log_due:
                self._print_log(job)
                log_due = time.monotonic() + _LOG_SECONDS
            if status.is_terminal():
                return
            if self._run.stop_requested and not passed_on:
                passed_on = True
                ray.get(self._shelf.request_stop.remote())
                if status == "PENDING":
                    self._client.stop_job(job)
                    self._run.mark_stopped()
                    return
            time.sleep(_SECONDS)

    def _print_log(self, job: str) -> None:
        try:
            log = self._client.get_job_logs(job)
        except RuntimeError:
            return  # it is where the job's node was
        sys.stdout.write(log[self._printed :])
        sys.stdout.flush()
        self._printed = len(log)


def lay_on_shelf(run: Run, name: str, *, gpu: bool, lifetime: str | None = None) -> Any:
    """A new shelf of that name with the run's files; it need not be there yet to be asked.

    It goes with this process, or is there for the next one with ``lifetime="detached"``.
    """
    import ray

    # On the head, which lasts as long as the cluster.
    options = {"num_cpus": 0, "resources": {"node:__internal_head__": 0.001}}
    named: Any = ray.remote(Shelf).options(name=name, lifetime=lifetime, **options)
    files = {name: file.read_bytes() for name, file in run.files.items()}
    return named.remote(order(run, gpu=gpu), files)


def _share(*, distribute: bool) -> tuple[float, float]:
    """Cores and GPUs for a run: of a cluster with GPUs one, or a whole node's; else a node."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpus = [found for found in nodes if found.get("GPU")]
    if not with_gpus:
        return min((found["CPU"] for found in nodes if found.get("CPU")), default=1), 0
    gpus = max(found["GPU"] for found in with_gpus) if distribute else 1
    return min(found.get("CPU", 0) // found["GPU"] * gpus for found in with_gpus), gpus


def main(folder: str) -> int:
    """Cancel the job of the run in a folder; returns the exit status."""
    try:
        cancel(Run(Path(folder)))
    except cluster.ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

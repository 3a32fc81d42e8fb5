"""The run folder: everything that is known of one training run.

This is the only module that knows the folder's file names. What it reads is checked by `contents`,
and everything wrong is a `RunError`. Every file is written beside its place and renamed, and
``UNFINISHED`` is the first file made and the last removed: a run killed at any moment leaves a
folder that is either whole or says that it is not.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrlib.runs import contents
from cxrlib.runs.legacy import upgrade
from cxrlib.runs.stored import PARTIAL, RunError, Stored

if TYPE_CHECKING:
    import pandas as pd

_UNFINISHED = "UNFINISHED"
_CONFIG = "config.json"
_ENVIRONMENT = "environment.json"
_HISTORY = "history.csv"
_MODEL = "model.keras"
_ONNX = "model.onnx"
_GRADIENT = "gradient.onnx"
_PREDICTIONS = "predictions.csv"
_METRICS = "metrics.json"
_CARD = "card.md"
_OUT_OF_DISTRIBUTION = "novelty.npz"  # the name that runs have had from the first
_STRESS = "stress.csv"
_DATA = "data.json"
_FAITHFULNESS = "faithfulness.csv"
_KEPT = "kept.json"
_KEPT_PREDICTIONS = "kept.csv"
_LOG = "log.txt"
_LOCK = "lock"
_TENSORBOARD = "tensorboard"
# What is only there while a run is unfinished.
_TASK = "task.json"
_CHECKPOINT = "checkpoint.npz"
_PROGRESS = "progress.json"
_STOP = "stop-requested"
_STOPPED = "stopped"
_FAILURE = "failure.txt"

_LOG_TAIL = 2**16  # bytes


class StoppedError(Exception):
    """Training was asked to stop, and has kept what it learned."""


class Run(Stored):
    """A run folder. Reading is lazy: nothing is opened before it is asked for."""

    @property
    def finished(self) -> bool:
        """Whether the run was written to its end."""
        return self._file(_METRICS).exists() and not self._file(_UNFINISHED).exists()

    @property
    def exists(self) -> bool:
        """Whether there is a run in this folder, finished or not."""
        return self._file(_CONFIG).is_file()

    @property
    def pending(self) -> bool:
        """Whether this machine was asked to train it and has not been through with it."""
        return self._file(_TASK).exists() and not self.finished

    @property
    def requested_at(self) -> float:
        """When it was asked for, seconds since 1970; 0 where the run is gone meanwhile."""
        # Of a file that stays: a run may finish, and lose its task, while someone looks on.
        file = self._file(_CONFIG)
        try:
            return file.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    @property
    def problem(self) -> str:
        """What is wrong with a finished run, in a sentence; empty where nothing is."""
        try:
            self.check()
        except RunError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Check what can be without loading a network.

        Raises:
            RunError: configuration or metrics are missing or damaged.
        """
        _ = self.config, self.metrics

    @property
    def config(self) -> dict[str, Any]:
        """What the run was asked to do, under the names of `TrainingConfig`."""
        check = contents.check_config
        return upgrade(self._json(_CONFIG, lambda found: check(upgrade(found))))

    @property
    def environment(self) -> dict[str, Any]:
        """Versions and device it was trained with."""
        return self._json(_ENVIRONMENT)

    @property
    def metrics(self) -> dict[str, Any]:
        """Calibration, operating points, and results with intervals by split."""
        return self._json(_METRICS, contents.check_metrics)

    @property
    def measured_at(self) -> int:
        """When metrics and predictions were written, nanoseconds since 1970."""
        names = [_METRICS, _PREDICTIONS]
        if self._file(_KEPT).exists():
            names.append(_KEPT)
        return max(self._read(name, lambda file: file.stat().st_mtime_ns) for name in names)

    @property
    def kept(self) -> dict[str, Any]:
        """What it came to on other sets of images, as `metrics` has splits, by name."""
        return self._json(_KEPT, contents.check_kept) if self._file(_KEPT).exists() else {}

    @property
    def kept_predictions(self) -> "pd.DataFrame":
        """One row an image of those sets, as `predictions`; ``split`` is the set's name."""
        return self._read_predictions(_KEPT_PREDICTIONS, contents.check_scores)

    @property
    def finished_at(self) -> float:
        """When it was finished, seconds since 1970; 0 where it is not."""
        file = self._file(_METRICS)
        return file.stat().st_mtime if self.finished else 0.0

    @property
    def history(self) -> "pd.DataFrame":
        """One row an epoch."""
        table = self._csv(_HISTORY, contents.check_history)
        return table.rename(columns={"rate": "learning_rate"})

    @property
    def has_history(self) -> bool:
        """Whether an epoch is finished."""
        return self._file(_HISTORY).exists()

    @property
    def predictions(self) -> "pd.DataFrame":
        """One row a held-out image: split, path, label, subtype, patient, score and more."""
        return self._read_predictions(_PREDICTIONS, contents.check_predictions)

    @property
    def card(self) -> str:
        """The model card, Markdown."""
        return self._read(_CARD, lambda file: file.read_text(encoding="utf-8"))

    @property
    def stress(self) -> "pd.DataFrame | None":
        """What `stress.measure` found; None where it has not been asked to."""
        return self._csv(_STRESS, contents.check_stress) if self._file(_STRESS).exists() else None

    @property
    def data_summary(self) -> dict[str, Any] | None:
        """What `summary.summarize` found of its images; None where it has not been asked to."""
        if not self._file(_DATA).exists():
            return None
        return self._json(_DATA, contents.check_data_summary)

    @property
    def faithfulness(self) -> "pd.DataFrame | None":
        """What `faithfulness.measure` found; None where it has not been asked to."""
        if not self._file(_FAITHFULNESS).exists():
            return None
        return self._csv(_FAITHFULNESS, contents.check_faithfulness)

    @property
    def model_file(self) -> Path:
        """The network as ``.keras``."""
        return self._file(_MODEL)

    @property
    def onnx_file(self) -> Path:
        """The network that reads: the forward pass, as ``training.export`` writes it.

        Raises:
            RunError: it was not written.
        """
        file = self._file(_ONNX)
        if not file.exists():
            remedy = (
                f"Write it once with: python -m cxrlib export --run {self.name}"
                if self.model_file.exists()
                else "It was not copied whole: copy the folder again or retrain."
            )
            raise RunError(f"The run {self.name} has no {_ONNX} to read with. {remedy}")
        return file

    @property
    def gradient_file(self) -> Path:
        """The same with its gradient. The weights are parts of `onnx_file`."""
        return self._file(_GRADIENT)

    @property
    def out_of_distribution_file(self) -> Path:
        """What the run takes for a frontal chest radiograph."""
        return self._file(_OUT_OF_DISTRIBUTION)

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return self.checkpoint_file.exists()

    @property
    def task(self) -> dict[str, Any]:
        """What this machine was asked to do: ``config``, ``data``, ``devices``, ``queued``."""
        return self._json(_TASK)

    @property
    def progress(self) -> dict[str, Any]:
        """What `write_progress` wrote last; empty before."""
        try:
            return json.loads(self._file(_PROGRESS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    @property
    def checkpoint_file(self) -> Path:
        """What training goes on from."""
        return self._file(_CHECKPOINT)

    @property
    def log_file(self) -> Path:
        """What the run's process printed."""
        return self._file(_LOG)

    @property
    def lock_file(self) -> Path:
        """Locked by the process that works on the run."""
        return self._file(_LOCK)

    @property
    def tensorboard_folder(self) -> Path:
        """Event files for TensorBoard."""
        return self._file(_TENSORBOARD)

    @property
    def stop_requested(self) -> bool:
        """Whether someone asked training to stop."""
        return self._file(_STOP).exists()

    @property
    def stopped(self) -> bool:
        """Whether training stopped because it was asked to."""
        return self._file(_STOPPED).exists()

    @property
    def failure(self) -> str:
        """Why training failed, in a sentence; empty where it did not."""
        file = self._file(_FAILURE)
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def files(self) -> dict[str, Path]:
        """The files that another machine needs to resume the run, by their path below it.

        Not among them is what belongs to this machine: lock, log, requests to stop, and files that
        are half written.
        """
        own = {_LOCK, _LOG, _STOP}
        return {
            file.relative_to(self.folder).as_posix(): file
            for file in sorted(self.folder.rglob("*"))
            if file.is_file() and file.name not in own and not file.name.startswith(PARTIAL)
        }

    def replace_files(self, contents: Mapping[str, bytes], names: Collection[str]) -> None:
        """Bring the folder to the state that it has on another machine.

        Args:
            contents: what has changed there, by the path below the folder.
            names: all that are there; other files of `files` are removed.
        """
        for name, data in contents.items():
            file = self._file(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{PARTIAL}{os.getpid()}-{file.name}")
            partial.write_bytes(data)
            partial.replace(file)
        gone = [file for name, file in self.files.items() if name not in names]
        # As at a run's own end, the mark that it is unfinished is the last to go.
        for file in sorted(gone, key=lambda file: file.name == _UNFINISHED):
            file.unlink()

    def log_tail(self, lines: int = 20) -> str:
        """The log's last lines, of a progress bar only its latest state."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - _LOG_TAIL))
            last = log.read().decode(errors="replace").rstrip("\n").split("\n")[-lines:]
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in last)

    def save_task(self, task: dict[str, Any]) -> None:
        """Keep what this machine was asked to do until the run is finished."""
        self._write(_TASK, json.dumps(task, indent=1))

    def write_progress(self, activity: str, **facts: object) -> None:
        """Write what this process is doing for the run."""
        self._write(_PROGRESS, json.dumps({"activity": activity, "pid": os.getpid()} | facts))

    def save_checkpoint(self, save: Callable[[Path], None]) -> None:
        """Keep what training goes on from; ``save`` writes it to the path it is given."""
        self._replace(_CHECKPOINT, save)

    def mark_unfinished(self) -> None:
        """Say that the run was not, or is no longer, whole."""
        self._file(_UNFINISHED).write_text(
            "This run was not trained to its end.\n", encoding="utf-8"
        )

    def request_stop(self) -> None:
        """Ask training to stop after the batch it is at."""
        self._file(_STOP).touch()

    def mark_stopped(self) -> None:
        """Say that the request to stop was followed."""
        self._file(_STOP).replace(self._file(_STOPPED))

    def give_up(self) -> None:
        """Keep configuration and history only: nobody is to resume it."""
        for file in (_TASK, _CHECKPOINT, _PROGRESS):
            self._file(file).unlink(missing_ok=True)

    def save_failure(self, reason: str) -> None:
        """Say why training failed."""
        self._write(_FAILURE, reason)

    def clear_marks(self) -> None:
        """Forget how the last attempt ended, and what it left half written."""
        for file in (_STOP, _STOPPED, _FAILURE, _PROGRESS):
            self._file(file).unlink(missing_ok=True)
        for partial in self.folder.glob(f"{PARTIAL}*"):
            partial.unlink()

    def save_config(self, text: str) -> None:
        """Keep the configuration, JSON."""
        self._write(_CONFIG, text)

    def save_environment(self, environment: dict[str, Any]) -> None:
        """Keep versions and device."""
        self._write(_ENVIRONMENT, json.dumps(environment, indent=1))

    def save_history(self, history: "pd.DataFrame") -> None:
        """Keep the epochs so far."""
        self._write(_HISTORY, history.to_csv(index=False))

    def save_model(self, save: Callable[[Path], None]) -> None:
        """Keep the network; ``save`` writes it to the path it is given."""
        self._replace(_MODEL, save)

    def save_onnx(self, forward: bytes, gradient: Callable[[str], bytes] | None) -> None:
        """Keep the network that reads.

        Args:
            forward: the forward pass.
            gradient: makes the pass with its gradient, given the name of the other's file, of
                which its weights are parts; None for a network that is read without.
        """
        # Never a gradient beside another network than its own.
        self.gradient_file.unlink(missing_ok=True)
        self._replace(_ONNX, lambda partial: partial.write_bytes(forward))
        if gradient:
            self._replace(_GRADIENT, lambda partial: partial.write_bytes(gradient(_ONNX)))

    def save_out_of_distribution(self, save: Callable[[Path], None]) -> None:
        """Keep what is familiar; ``save`` writes it to the path it is given."""
        self._replace(_OUT_OF_DISTRIBUTION, save)

    def finish(self, predictions: "pd.DataFrame", metrics: dict[str, Any], card: str) -> None:
        """Keep what the run came to and take the mark off: from now on it is finished."""
        self._write(_PREDICTIONS, predictions.to_csv(index=False, float_format="%.7g"))
        self._write(_CARD, card)
        self._write(_METRICS, json.dumps(metrics, indent=1))
        self._file(_UNFINISHED).unlink(missing_ok=True)
        for file in (_TASK, _CHECKPOINT, _PROGRESS, _STOP):
            self._file(file).unlink(missing_ok=True)

    def keep(self, name: str, measured: dict[str, Any], predictions: "pd.DataFrame") -> None:
        """Keep what it came to on another set of images, in place of the last of that name."""
        import pandas as pd

        kept = self.kept
        if kept:
            others = self.kept_predictions
            predictions = pd.concat([others[others.split != name], predictions])
        # A set in one file only is not there: the table of names is written last.
        self._write(_KEPT_PREDICTIONS, predictions.to_csv(index=False, float_format="%.7g"))
        self._write(_KEPT, json.dumps(kept | {name: measured}, indent=1))

    def save_stress(self, table: "pd.DataFrame") -> None:
        """Keep what `stress.measure` found."""
        self._write(_STRESS, table.to_csv(index=False, float_format="%.6g"))

    def save_data_summary(self, found: dict[str, Any]) -> None:
        """Keep what `summary.summarize` found."""
        self._write(_DATA, json.dumps(found, indent=1))

    def save_faithfulness(self, table: "pd.DataFrame") -> None:
        """Keep what `faithfulness.measure` found."""
        self._write(_FAITHFULNESS, table.to_csv(index=False, float_format="%.6g"))

    def save_card(self, card: str) -> None:
        """Keep the model card, Markdown, in place of the last."""
        self._write(_CARD, card)

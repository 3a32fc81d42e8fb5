"""What a training run says of itself while it works, and how it hears that it shall stop."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from tqdm import tqdm

from cxrlib import formatting, runs
from cxrlib.training import checkpoint

T = TypeVar("T")
_EVERY = 1.0  # seconds between two writings
_AVERAGED_EVERY, _DECAY = 5, 0.98  # steps between two updates of the average, and what each keeps


class Watch(keras.callbacks.Callback):
    """Writes the run's progress about once a second, and ends the epoch on a request to stop.

    Attributes:
        step: batches finished in the epoch.
        stopped: whether the epoch was ended before its last batch.
    """

    def __init__(
        self, run: runs.Run, phase: str, *, epochs: int, steps: int, batch_size: int
    ) -> None:
        super().__init__()
        self._run, self._phase = run, phase
        self._epochs, self._steps, self._batch_size = epochs, steps, batch_size
        self._bar: Any = None  # a `tqdm`, from the first epoch on
        self._between = 0.0  # seconds from one epoch's last batch to the next epoch's first
        self._ended = 0.0
        self._written = 0.0
        # Seconds a step: of the epoch before until this one's second step is done, and shown for
        # all of an epoch that is over before the next write.
        self._pace: float | None = None
        self.stopped = False

    def start_epoch(self, epoch: int, step: int, metrics: Sequence[np.ndarray]) -> None:
        """Make ready for `fit`; ``metrics`` are values that the metrics' variables start from."""
        self._epoch, self.step, self._metrics = epoch, step, metrics
        self._first: tuple[int, float] | None = None
        if self._bar is None:
            self._bar = tqdm(
                total=self._epochs * self._steps,
                initial=epoch * self._steps + step,
                desc=self._phase,
                unit=" steps",
            )

    def end_epoch(self, val_auc: float) -> None:
        """Show what validation came to."""
        self._bar.set_postfix(
            epoch=f"{self._epoch + 1}/{self._epochs}", val_auc=formatting.decimal(val_auc)
        )

    def close(self) -> None:
        """End the progress bar, if any epoch was left to do."""
        if self._bar:
            self._bar.close()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        # `fit` has just reset them; an epoch broken off in its middle keeps what it had.
        if self._metrics:
            checkpoint.assign(self.model.metrics_variables, self._metrics)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.step += 1
        self._bar.update()
        now = time.monotonic()
        if self._first is None:
            # The first batch also pays for compiling: speed is measured from its end on.
            self._first = (self.step, now)
            self._between = now - self._ended if self._ended else 0.0
        else:
            first, since = self._first
            self._pace = (now - since) / (self.step - first)
        if now - self._written >= _EVERY:
            self._written = now
            self.write_progress("training", by_metric(logs or {}))
        if self.step == self._steps:
            self._ended = now
        elif self._run.stop_requested:
            # In an epoch's last batch there is nothing to break off.
            self.stopped = self.model.stop_training = True

    def write_progress(self, activity: str, logs: Mapping[str, float]) -> None:
        """Write where training is, what it has come to, and how fast it goes."""
        left = self._epochs - self._epoch - 1
        self._run.write_progress(
            activity,
            phase=self._phase,
            epoch=self._epoch + 1,
            epochs=self._epochs,
            step=self.step,
            steps=self._steps,
            images_per_second=self._pace and self._batch_size / self._pace,
            seconds_left=self._pace
            and self._pace * (self._steps * (left + 1) - self.step) + self._between * left,
            **{name: float(value) for name, value in logs.items()},
        )


def by_metric(logs: Mapping[str, T]) -> dict[str, T]:
    """Keras' logs by the metrics' own names, which it prefixes where there are several outputs."""
    return {
        name.removeprefix("probability_"): value
        for name, value in logs.items()
        if name != "probability_loss"  # ``loss`` is the sum of it and ``evidence_loss``
    }


class WeightAverage(keras.callbacks.Callback):
    """An exponential moving average of the weights (Polyak and Juditsky 1992).

    Args:
        values: the average so far, changed in place; empty before the first step.
        step: steps that were done before.
    """

    def __init__(self, values: list[np.ndarray], step: int) -> None:
        super().__init__()
        self._values, self._step = values, step

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if not self._values:
            self._values += [np.array(weights) for weights in self.model.get_weights()]
        self._step += 1
        if self._step % _AVERAGED_EVERY:
            return
        update = self._step // _AVERAGED_EVERY
        decay = min(_DECAY, (1 + update) / (10 + update))  # the first weights are soon forgotten
        for average, weights in zip(self._values, self.model.get_weights(), strict=True):
            average *= decay
            average += (1 - decay) * weights


class EventLog:
    """The history as TensorBoard reads it, one event file for each time training was started.

    Written with TensorFlow alone: TensorBoard itself is only needed to look at it. Other
    backends have no writer; there, nothing is written.
    """

    def __init__(self, folder: Path) -> None:
        self._summary = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._summary = tf.summary
            self._writer = tf.summary.create_file_writer(str(folder))
            self._metadata = tf.compat.v1.SummaryMetadata()
            self._metadata.plugin_data.plugin_name = "scalars"

    def add(self, row: Mapping[str, object], step: int) -> None:
        """Add an epoch's numbers."""
        if self._summary is None:
            return
        with self._writer.as_default():
            for name, value in row.items():
                if isinstance(value, float):
                    self._summary.write(name, value, step=step, metadata=self._metadata)
        self._writer.flush()

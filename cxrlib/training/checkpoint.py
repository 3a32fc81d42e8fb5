"""What training needs to go on from where it was left.

Keras' `BackupAndRestore` keeps epoch, weights and optimizer. That is not enough to end where an
uninterrupted run would have ended: here are also the best weights so far and how long ago they
were reached, the history, dropout's random state, and the metrics of an epoch broken off in its
middle.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

_ARRAYS = ("variables", "optimizer", "metrics", "best", "average", "initial_weights")


@dataclass
class Checkpoint:
    """The state of a training run between two batches.

    Attributes:
        pictures: digest of the images and their folds; others are another run.
        labels: digest of the images' classes.
        meanings: of the data set's classes, as of `entries.meanings`.
        phase: ``head`` or ``fine-tune``.
        epoch: epochs finished in this phase.
        step: batches finished in the epoch after those.
        seconds: time spent in that epoch.
        best_epoch: epochs finished when validation was best; 0 before the first.
        best_score: what was reached then, by the metric that is monitored; the higher the better.
        history: a row an epoch, as in the run's history.
        variables: the network's variables, random states included.
        optimizer: the optimizer's variables.
        metrics: the training metrics' variables.
        best: the network's weights at ``best_epoch``.
        average: the moving average of its weights, where one is kept.
        initial_weights: of the run that this one started from, for distillation and weight
            interpolation.
    """

    pictures: str
    labels: str = ""
    meanings: dict[str, str] = field(default_factory=dict)
    phase: str = ""
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_score: float = -math.inf
    history: list[dict[str, object]] = field(default_factory=list)
    variables: list[np.ndarray] = field(default_factory=list)
    optimizer: list[np.ndarray] = field(default_factory=list)
    metrics: list[np.ndarray] = field(default_factory=list)
    best: list[np.ndarray] = field(default_factory=list)
    average: list[np.ndarray] = field(default_factory=list)
    initial_weights: list[np.ndarray] = field(default_factory=list)

    def start_phase(self, phase: str) -> None:
        """Begin a phase; history goes on, what steered the phase before is forgotten."""
        self.phase, self.epoch, self.step, self.seconds = phase, 0, 0, 0.0
        self.best_epoch, self.best_score, self.best = 0, -math.inf, []
        self.optimizer, self.metrics, self.average = [], [], []

    def save(self, file: Path) -> None:
        """Write an ``.npz``."""
        facts = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        arrays = {
            f"{name}-{number}": array
            for name in _ARRAYS
            for number, array in enumerate(getattr(self, name))
        }
        np.savez(file, facts=json.dumps(facts), **arrays)


def load(file: Path) -> Checkpoint:
    """Read what `Checkpoint.save` wrote."""
    with np.load(file) as stored:
        facts = json.loads(str(stored["facts"]))
        if "best_auc" in facts:  # of a version that monitored nothing else
            facts["best_score"] = facts.pop("best_auc")
        checkpoint = Checkpoint(**facts)
        for name in _ARRAYS:
            count = sum(key.startswith(f"{name}-") for key in stored.files)
            setattr(checkpoint, name, [stored[f"{name}-{number}"] for number in range(count)])
    return checkpoint


def values(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """The variables' values."""
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assign(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    """Give variables the values that `values` took of them."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)

"""Sweeps: one file that asks for many runs, and what they came to.

A trial is an ordinary run called after the sweep, ``NAME-01``, ``NAME-02``, …: where a sweep stands
is told by its runs, and a file that asks for more trials continues with those that are there.
"""

import itertools
import json
import math
import random
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cxrlib import formatting, metrics
from cxrlib.runs import records, registry
from cxrlib.runs.config import TrainingConfig, for_network, problems
from cxrlib.runs.folder import Run

_FOLDER = "sweeps"  # in the folder of runs; no run, because it has no configuration
_MOST = 1000
# What has to be the same for all trials, so that they are validated on the same images.
_SHARED = ("split_seed", "validation_fraction", "name")

State = Literal["not started", "unfinished", "stopped early", "finished"]


class SweepError(ValueError):
    """A sweep's file asks for what cannot be; says what to do."""


class Range(BaseModel):
    """Where a search draws a number from: evenly, or evenly in its logarithm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low should be less than high, and above 0 with log")
        return self

    def draw(self, rng: random.Random) -> int | float:
        """One number."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            drawn = rng.uniform(self.low, self.high)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return round(drawn)
        return float(f"{drawn:.3g}")  # more digits tell nothing, and nobody could type them again


class Sweep(BaseModel):
    """What a sweep's file asks for.

    Attributes:
        name: what the runs are called after.
        data: a data-set folder, or the URL of one; by default the one in use.
        cluster: the Ray cluster, ``HOST:PORT``, that trains; by default this machine.
        settings: of `TrainingConfig`, for all trials.
        values: several values a setting. Without ``trials`` every combination is one.
        ranges: where a search draws numbers from; needs ``trials``.
        trials: how many a search draws; None for the grid of ``values``.
        seed: of the search.
        gpus: how much of a GPU a trial takes, on a cluster that has any.
        cpus: how many cores it takes there.
        grace_epochs: epochs that every trial is given on a cluster before a poor one is stopped.
        reduction: of so many trials the best one goes on (ASHA); 1 stops none early.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    data: str | None = None
    cluster: str | None = None
    settings: dict[str, Any] = {}
    values: dict[str, list[Any]] = {}
    ranges: dict[str, Range] = {}
    trials: int | None = Field(None, ge=1, le=_MOST)
    seed: int = Field(0, ge=0)
    gpus: float = Field(1.0, gt=0)
    cpus: float = Field(1.0, gt=0)
    grace_epochs: int = Field(2, ge=1)
    reduction: int = Field(3, ge=1)

    @field_validator("name")
    @classmethod
    def _names_runs(cls, name: str) -> str:
        return registry.check_name(f"{name}-0000") and name

    @model_validator(mode="after")
    def _consistent(self) -> "Sweep":
        varied = [*self.values, *self.ranges]
        if not varied:
            raise ValueError("nothing to vary: give [values] or [ranges]")
        if self.ranges and self.trials is None:
            raise ValueError("[ranges] are drawn from: say how many trials")
        for name in [*self.settings, *varied]:
            if name not in TrainingConfig.model_fields:
                raise ValueError(f"there is no setting {name}: python train.py --help lists them")
        if twice := [name for name in varied if (name in self.settings) + varied.count(name) > 1]:
            raise ValueError(f"the setting {twice[0]} is given twice: keep it in one place")
        if shared := [name for name in varied if name in _SHARED]:
            raise ValueError(
                f"the setting {shared[0]} has to be the same for all trials: give it in [settings]"
            )
        if empty := [name for name, values in self.values.items() if not values]:
            raise ValueError(f"the setting {empty[0]} has no values")
        return self

    @property
    def varied(self) -> list[str]:
        """The settings in which trials differ."""
        return [*self.values, *self.ranges]

    def configurations(self) -> list[TrainingConfig]:
        """What each trial is asked to do; the first ones stay when more are asked for.

        Raises:
            SweepError: a combination is no configuration.
        """
        found = []
        for number, varied in enumerate(self._varied(), start=1):
            asked = self.settings | varied
            if asked.get("split_seed") is None:
                asked["split_seed"] = self.settings.get("seed", 0)
            network = asked.pop("network", TrainingConfig.model_fields["network"].default)
            asked["name"] = f"{self.name}-{number:02}"
            try:
                found.append(TrainingConfig(**for_network(network, **asked)))
            except ValidationError as error:
                reason = " ".join(
                    f"{field}: {sentence}" if field else sentence
                    for field, sentence in problems(error).items()
                )
                these = ", ".join(f"{name} = {value}" for name, value in varied.items())
                raise SweepError(f"The trial with {these} cannot be trained: {reason}") from error
        return found

    def _varied(self) -> Iterator[dict[str, Any]]:
        if self.trials is None:
            if math.prod(map(len, self.values.values())) > _MOST:
                raise SweepError(f"These values make more than {_MOST} trials: search instead.")
            for combination in itertools.product(*self.values.values()):
                yield dict(zip(self.values, combination, strict=True))
            return
        rng = random.Random(self.seed)
        for _ in range(self.trials):
            drawn = {name: rng.choice(values) for name, values in self.values.items()}
            yield drawn | {name: found.draw(rng) for name, found in self.ranges.items()}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        run: its folder, which may not be there yet.
        config: what it is asked to do.
    """

    run: Run
    config: TrainingConfig

    @property
    def state(self) -> State:
        """Where it stands."""
        if self.run.finished:
            return "finished"
        if self.run.pending:
            return "unfinished"
        return "stopped early" if self.run.exists else "not started"

    @property
    def over(self) -> bool:
        """Whether nothing is left to be trained."""
        return self.state in ("finished", "stopped early")

    @property
    def epochs(self) -> int:
        """How many epochs it has been trained."""
        return len(self.run.history) if self.run.has_history else 0

    @property
    def validation_auc(self) -> metrics.Estimate | None:
        """Of the calibrated run, with its interval; so far, as training found it; or None."""
        if self.run.finished:
            found = self.run.metrics
            return records.estimates(found, "validation", found["default_point"])["roc_auc"]
        if not self.run.has_history:
            return None
        best = float(self.run.history.val_auc.max())
        return metrics.Estimate(best, math.nan, math.nan)


def read(file: Path) -> Sweep:
    """A sweep from its file, TOML, or the JSON that `keep` writes.

    Raises:
        SweepError: the file is missing, cannot be read, or asks for what cannot be.
    """
    try:
        text = file.read_text(encoding="utf-8")
        asked = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
        if not isinstance(asked, dict):
            raise ValueError("it holds no table of settings")
    except OSError as error:
        raise SweepError(f"{file} cannot be opened: {error.strerror}.") from error
    except ValueError as error:
        raise SweepError(f"{file} is not a sweep's file: {error}.") from error
    return _checked(asked, file)


def _checked(asked: dict[str, Any], file: Path) -> Sweep:
    try:
        return Sweep(**asked)
    except ValidationError as error:
        reason = " ".join(
            f"{field}: {sentence}" if field else sentence
            for field, sentence in problems(error).items()
        )
        raise SweepError(f"{file}: {reason}") from error


def trials(sweep: Sweep, models: Path) -> list[Trial]:
    """The sweep's trials, with what has become of them.

    Raises:
        SweepError: a run of that name was asked to do something else.
    """
    found = []
    for config in sweep.configurations():
        run = Run((models / str(config.name)).resolve())
        wanted = json.loads(config.for_record(run.name).model_dump_json())
        if run.exists and any(run.config.get(name) != value for name, value in wanted.items()):
            raise SweepError(
                f"The run {run.name} in {models} was trained with other settings: give the sweep "
                "another name."
            )
        found.append(Trial(run, config))
    return found


def file_of(name: str, models: Path, ending: str = ".json") -> Path:
    """A file that is kept of a sweep beside the runs."""
    return models / _FOLDER / f"{name}{ending}"


def keep(sweep: Sweep, models: Path) -> None:
    """Keep what was asked for beside the runs, where `kept` finds it."""
    file = file_of(sweep.name, models)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(sweep.model_dump_json(indent=1), encoding="utf-8")


def kept(models: Path) -> list[Sweep]:
    """The sweeps that were started in a folder of runs, the latest first.

    Raises:
        SweepError: the file of one is damaged.
    """
    files = (models / _FOLDER).glob("*.json")
    return [read(file) for file in sorted(files, key=lambda file: -file.stat().st_mtime)]


def table(sweep: Sweep, known: Sequence[Trial]) -> pd.DataFrame:
    """The trials, the best by validation first.

    Returns:
        Columns ``trial``, the settings in which they differ, ``state``, ``epochs``,
        ``validation_auc`` with its interval as text, ``auc`` as a number. No test images: choosing
        by them would make their figures promises.
    """
    rows = []
    for trial in known:
        auc = trial.validation_auc
        interval = auc is not None and not math.isnan(auc.low)
        rows.append(
            {"trial": trial.run.name}
            | {name: getattr(trial.config, name) for name in sweep.varied}
            | {
                "state": trial.state,
                "epochs": trial.epochs,
                "validation_auc": ""
                if auc is None
                else str(auc)
                if interval
                else formatting.decimal(auc.value),
                "auc": math.nan if auc is None else auc.value,
            }
        )
    return pd.DataFrame(rows).sort_values("auc", ascending=False, ignore_index=True)


def best(known: Sequence[Trial]) -> tuple[Trial, list[Trial]] | None:
    """The finished trial with the best validation AUC, and those that its interval reaches.

    The others are not told from it by these images. None where no trial is finished.
    """
    found = [
        (auc.value, auc.low, trial)
        for trial in known
        if trial.state == "finished" and (auc := trial.validation_auc)
    ]
    if not found:
        return None
    _, low, first = max(found, key=lambda one: one[0])
    return first, [trial for auc, _, trial in found if trial is not first and auc >= low]

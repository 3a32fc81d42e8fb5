"""Runs against each other, a few at a time: what a choice does to a run, over several seeds.

    python benchmarks/models.py --data chest_xray --keep FOLDER --weights FILE.h5 [TRIAL …]
    python benchmarks/models.py

Every trial is trained with every seed (which also draws the validation patients anew) and judged
on its own validation pictures, on a sample of them changed on purpose, and on pictures from
elsewhere. What was found goes to `models.csv` beside this file; what is there already is neither
trained nor judged again, so a table that takes days can be made in pieces. The second command
prints that table in Markdown.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from cxrlib import runs, tables
from cxrlib.data import dataset, external
from cxrlib.evaluation import compare_runs, stress
from cxrlib.evaluation.perturbations import SHIFTS
from cxrlib.formatting import PERCENT_SIGN
from cxrlib.inference import ensemble
from cxrlib.inference.classifier import Prediction
from cxrlib.runs.config import TrainingConfig
from cxrlib.training import devices
from cxrlib.training.train import train

FOUND = Path(__file__).with_name("models.csv")
SAMPLE = 150  # validation pictures that are changed on purpose
CHANGES = ("frame 10 % wider", "gamma 1.25", "blur 0.4 %", "noise, 5 grey levels", "128 px")
COMPARED = ("ROC-AUC", "verdicts changed")
IN_PERCENT = ("sensitivity", "specificity", "verdicts changed", "most changed")
FRAMES = ("frame 10 % wider", "frame 10 % higher")


@dataclass(frozen=True)
class Trial:
    """One choice.

    Attributes:
        asked: fields of `TrainingConfig`.
        against: the trial it differs from in that choice alone; its runs of the same seeds are
            what it is compared with.
        after: the trial whose network it begins with.
        members: the trials it is the mean of, instead of being trained.
        frames: whether the trial in ``against`` reads every picture in three frames.
    """

    asked: dict[str, object] = field(default_factory=dict)
    against: str | None = None
    after: str | None = None
    members: Sequence[str] = ()
    frames: bool = False


def _with(base: Trial, against: str, **asked: object) -> Trial:
    return replace(base, asked=base.asked | asked, against=against)


_CNN = Trial({
    "network": "cnn", "size": 96, "weights": "none", "crop": "lungs", "augmentation": "light",
    "head_epochs": 0, "fine_tune_epochs": 15, "patience": 15, "learning_rate": 3e-3,
})  # fmt: skip
_FROZEN = Trial({
    "size": 112, "crop": "lungs", "augmentation": "none", "head_epochs": 20, "fine_tune_epochs": 0,
})  # fmt: skip
_TUNED = Trial(
    {
        "size": 112,
        "crop": "lungs",
        "randomize_background": True,
        "fine_tune_epochs": 4,
        "learning_rate": 2e-4,
    }
)
TRIALS = {
    "cnn": _CNN,
    "cnn, whole image": _with(_CNN, "cnn", crop="none"),
    "cnn, plain": _with(_CNN, "cnn", augmentation="none"),
    "cnn, strong": _with(_CNN, "cnn", augmentation="strong"),
    "frozen": _FROZEN,
    "frozen, whole image": _with(_FROZEN, "frozen", crop="none"),
    "frozen, 168 px": _with(_FROZEN, "frozen", size=168),
    "frozen, CLAHE": _with(_FROZEN, "frozen", equalization="clahe"),
    "frozen, oversampled": _with(_FROZEN, "frozen", imbalance="oversample"),
    "frozen, nothing against imbalance": _with(_FROZEN, "frozen", imbalance="none"),
    "frozen, label smoothing 0.05": _with(_FROZEN, "frozen", label_smoothing=0.05),
    "tuned": _TUNED,
    "tuned, whole image": _with(
        _TUNED, "tuned, not repainted", crop="none", randomize_background=False
    ),
    "tuned, not repainted": _with(_TUNED, "tuned", randomize_background=False),
    "tuned, opacities drawn in": _with(_TUNED, "tuned", synthetic_opacity_ratio=0.5),
    "tuned, opacities drawn in, not repainted": _with(
        _TUNED, "tuned, opacities drawn in", synthetic_opacity_ratio=0.5, randomize_background=False
    ),
    "tuned, plain": _with(
        _TUNED, "tuned, not repainted", augmentation="none", randomize_background=False
    ),
    "tuned, statistics as trained": _with(_TUNED, "tuned", batchnorm_recalibration="none"),
    "tuned, statistics of augmented": _with(_TUNED, "tuned", batchnorm_recalibration="augmented"),
    "tuned, light": _with(_TUNED, "tuned", augmentation="light"),
    "tuned, last 40 layers": _with(_TUNED, "tuned", fine_tune_layers=40),
    "tuned, consistency 2": _with(_TUNED, "tuned", consistency_weight=2.0),
    "tuned, then 2 epochs on, mean of both": replace(
        _with(_TUNED, "tuned", fine_tune_epochs=2, weight_interpolation=0.5), after="tuned"
    ),
    "tuned, then taught by it for 2 epochs": Trial(
        {
            "size": 112,
            "crop": "lungs",
            "head_epochs": 0,
            "fine_tune_epochs": 2,
            "learning_rate": 2e-4,
            "distill_from_start": True,
        },
        against="tuned",
        after="tuned",
    ),
    "mean of tuned, and with consistency 2": Trial(
        against="tuned", members=("tuned", "tuned, consistency 2")
    ),
    "tuned, read in three frames": Trial(against="tuned", frames=True),
}


class ThreeFrames:
    """Test-time augmentation: reads a picture as it is, 10 % wider and 10 % higher."""

    def __init__(self, reader: ensemble.Classifier) -> None:
        self._reader, self.point = reader, reader.point
        self._frames = [shift.apply for shift in SHIFTS if shift.name in FRAMES]

    def predict_all(self, pictures: Sequence[np.ndarray]) -> list[Prediction]:
        found = [self._reader.predict_all(pictures)]
        for apply in self._frames:
            found.append(self._reader.predict_all([apply(picture) for picture in pictures]))
        return [
            replace(
                plain,
                probability=float(np.mean([plain.probability, *(o.probability for o in others)])),
            )
            for plain, *others in zip(*found, strict=True)
        ]


class Trials:
    """Trains the trials, in one folder, and judges them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._data, self._keep, self._weights = options.data, options.keep, options.weights
        self._table = dataset.index(options.data)
        self._others = (
            {external.name(options.also): external.read(options.also)} if options.also else {}
        )

    def _run(self, name: str, seed: int) -> runs.Run:
        trial, called = TRIALS[name], self._named(name, seed)
        known = {run.name: run for run in runs.finished(self._keep)}
        if called in known:
            return known[called]
        if trial.members:
            return compare_runs.save_ensemble(
                called, [self._run(member, seed) for member in trial.members]
            )
        given = {"weights": self._weights} | trial.asked | {"name": called, "seed": seed}
        if trial.after:
            given["weights"] = str(self._run(trial.after, seed).model_file)
        begun = next((run for run in runs.unfinished(self._keep) if run.name == called), None)
        return train(TrainingConfig(**given), self._data, models=self._keep, run=begun)

    def judged(self, name: str, seed: int) -> dict[str, float]:
        """What is measured of a trial with a seed."""
        trial = TRIALS[name]
        run = self._run(trial.against if trial.frames else name, seed)
        reader = ensemble.load(run)
        held_out = self._table[reader.held_out(self._table)]
        if trial.frames:
            reader = ThreeFrames(reader)
        some = held_out.sample(min(SAMPLE, len(held_out)), random_state=0)
        shifts = [shift for shift in SHIFTS if shift.name in CHANGES]
        plain = stress.measure(reader, held_out, split="validation", shifts=[]).iloc[0]
        changed = stress.measure(
            reader, some, split="validation", shifts=shifts, elsewhere=self._others
        )
        steps = changed[changed.strength == "mild"].changed
        away = changed[changed.pictures_of.isin(self._others)]
        trained = not (trial.members or trial.frames)
        return {
            "ROC-AUC": plain.roc_auc,
            "sensitivity": plain.sensitivity,
            "specificity": plain.specificity,
            "calibration error": plain.ece,
            "verdicts changed": steps.mean(),
            "most changed": steps.max(),
            **{f"ROC-AUC, {row.pictures_of}": row.roc_auc for row in away.itertuples()},
            "minutes": run.history.seconds.sum() / 60 if trained else float("nan"),
        }

    def _named(self, name: str, seed: int) -> str:
        return f"{name.replace(', ', '-').replace(' ', '_')}-{seed}"


def table(found: pd.DataFrame) -> list[str]:
    """The trials that were made, in Markdown: of each measure the mean over seeds and the range.

    What a trial gains over the one it is compared with is paired by seed; a seed that only one of
    them has does not count there.
    """
    of = {name: rows.set_index("seed") for name, rows in found.groupby("trial")}
    lines = []
    for name in [name for name in TRIALS if name in of]:
        rows = of[name].drop(columns="trial")
        cells = {"trial": name, "seeds": str(len(rows))}
        cells |= {column: spread(rows[column]) for column in rows}
        against = TRIALS[name].against
        for column in COMPARED:
            gained = pd.Series(dtype=float)
            if against in of:
                gained = (rows[column] - of[against][column]).dropna()
            words = spread(gained, "+")
            cells[f"{column}, against"] = words and f"{words} *{against}*"
        lines.append(cells)
    return tables.markdown(pd.DataFrame(lines))


def spread(values: pd.Series, sign: str = "") -> str:
    """The mean over seeds, and the range."""
    if values.isna().all():
        return ""
    digits, unit = (1, "") if values.name == "minutes" else (3, "")
    if values.name in IN_PERCENT:
        values, digits, unit = 100 * values, 1, " points" if sign else PERCENT_SIGN
    mean, low, high = (
        f"{value:{sign}.{digits}f}" for value in (values.mean(), values.min(), values.max())
    )
    return f"{mean}{unit} ({low} to {high})"


def read() -> pd.DataFrame:
    """What was found so far: a row a trial and seed."""
    return pd.read_csv(FOUND) if FOUND.exists() else pd.DataFrame(columns=["trial", "seed"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trials", nargs="*", choices=[*TRIALS, []], metavar="TRIAL")
    parser.add_argument("--data", type=Path, default=dataset.configured_place())
    parser.add_argument("--keep", type=Path, help="where runs are kept; without it none is made")
    parser.add_argument("--weights", default="imagenet", help="of MobileNetV2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--also", nargs="+", metavar="SOURCE", help="as `stress` takes it")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        devices.keep_memory()
        trials, found = Trials(options), read()
        known = set(zip(found.trial, found.seed, strict=True))
        for name in options.trials or TRIALS:
            for seed in range(options.seeds):
                if (name, seed) not in known:
                    row = {"trial": name, "seed": seed} | trials.judged(name, seed)
                    found = pd.concat([found, pd.DataFrame([row]).round(5)])
                    found.to_csv(FOUND, index=False)
    print(*table(read()), sep="\n")


if __name__ == "__main__":
    main()

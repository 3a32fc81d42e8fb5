"""Runs against each other, a few at a time: what a choice does to a run, and over which seeds.

    python benchmarks/models.py --data chest_xray --keep FOLDER --weights FILE.h5 [TRIAL …]

Every trial is trained with every seed (which also draws the validation patients anew), and judged
on its own validation pictures, on a sample of them changed on purpose, and on pictures from
elsewhere. What is in the folder already is not trained again. Prints a table in Markdown.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from cxrlib import dataset, elsewhere, evaluation, runs, stress, training
from cxrlib.classifier import Classifier
from cxrlib.config import TrainingConfig
from cxrlib.shifts import SHIFTS

SAMPLE = 150  # validation pictures that are changed on purpose
CHANGES = ("frame 10 % wider", "gamma 1.25", "blur 0.4 %", "noise, 5 grey levels", "64 px")

_FROZEN = {"network": "mobilenetv2", "size": 168, "augmentation": "none", "fine_tune_epochs": 0,
           "head_epochs": 20}  # fmt: skip
_CNN = {"network": "cnn", "size": 96, "weights": "none", "head_epochs": 0, "fine_tune_epochs": 12,
        "rate": 3e-3, "patience": 12}  # fmt: skip
TRIALS = {
    "cnn, plain": _CNN | {"augmentation": "none"},
    "cnn, light": _CNN | {"augmentation": "light"},
    "cnn, strong": _CNN | {"augmentation": "strong"},
    "cnn, strong, lungs, repainted": _CNN
    | {"augmentation": "strong", "view": "lungs", "repaint": True},
    "frozen, whole": _FROZEN,
    "frozen, lungs": _FROZEN | {"view": "lungs"},
    "frozen, lungs, CLAHE": _FROZEN | {"view": "lungs", "equalization": "clahe"},
    "frozen, lungs, oversampled": _FROZEN | {"view": "lungs", "imbalance": "oversample"},
    "frozen, lungs, nothing against imbalance": _FROZEN | {"view": "lungs", "imbalance": "none"},
    "frozen, lungs, label smoothing 0.05": _FROZEN | {"view": "lungs", "label_smoothing": 0.05},
    "fine-tuned, whole": {"size": 168, "fine_tune_epochs": 6},
    "fine-tuned, lungs, repainted": {
        "size": 168, "fine_tune_epochs": 6, "view": "lungs", "repaint": True
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trials", nargs="*", choices=[*TRIALS, []], metavar="TRIAL")
    parser.add_argument("--data", type=Path, default=dataset.configured_folder())
    parser.add_argument("--keep", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--weights", default="imagenet", help="of MobileNetV2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--also", nargs="+", metavar="SOURCE", help="as `stress` takes it")
    options = parser.parse_args()
    others = {elsewhere.name(options.also): elsewhere.read(options.also)} if options.also else {}
    table = dataset.index(options.data)
    titles = ["trial", "seeds", "ROC-AUC", "sensitivity", "specificity", "calibration error",
              *(f"changed: {name}" for name in CHANGES), *(f"ROC-AUC, {name}" for name in others),
              "epochs", "seconds an epoch"]  # fmt: skip
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for trial in options.trials or TRIALS:
        found = [judged(trained(trial, seed, options), table, others)
                 for seed in range(options.seeds)]  # fmt: skip
        cells = [
            trial,
            str(options.seeds),
            *(spread(column) for column in zip(*found, strict=True)),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def trained(trial: str, seed: int, options: argparse.Namespace) -> runs.Run:
    name = f"{trial.replace(', ', '-').replace(' ', '_')}-{seed}"
    known = {run.name: run for run in runs.finished(options.keep)}
    if name in known:
        return known[name]
    given = {"weights": options.weights, "name": name, "seed": seed} | TRIALS[trial]
    config = TrainingConfig(**given)
    return training.train(config, options.data, models=options.keep)


def judged(run: runs.Run, table: pd.DataFrame, others: dict[str, pd.DataFrame]) -> list[float]:
    point, history = run.metrics["default_point"], run.history
    estimates = evaluation.estimates(run.metrics, "validation", point)
    reader = Classifier(run)
    held_out = table[reader.held_out(table)]
    some = held_out.sample(min(SAMPLE, len(held_out)), random_state=0)
    shifts = [shift for shift in SHIFTS if shift.name in CHANGES]
    changed = stress.measure(reader, some, split="validation", shifts=shifts, elsewhere=others)
    steps = changed.set_index("step").changed
    return [
        *(estimates[name].value for name in ("roc_auc", "sensitivity", "specificity", "ece")),
        *(steps[name] for name in CHANGES),
        *changed[changed.pictures_of.isin(others)].roc_auc,
        len(history),
        history.seconds.median(),
    ]


def spread(values: tuple[float, ...]) -> str:
    """The mean over seeds, and the range."""
    mean = statistics.mean(values)
    digits = 3 if mean < 1.5 else 0
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


if __name__ == "__main__":
    main()

"""The usual experiments of docs/training.md over several seeds:

    python benchmarks/experiments.py --data chest_xray --keep FOLDER --images 1000 --size 128 \\
      --epochs 3 --weights mobilenetv2=mobilenet_v2_imagenet_notop.weights.h5
    python benchmarks/experiments.py        # prints the table of experiments.csv

Trains what `experiments.csv` lacks, each run with the command of the table and another seed, which
draws weights, order, augmentation and the validation patients. The same command resumes after an
interruption. `--images`, `--size` and `--epochs` make the experiments smaller; what trains from
scratch keeps its epochs, and a size that the command names itself stays. An experiment whose
network has no weights here is left out, unless `--online` lets Keras fetch ImageNet's.
"""

import argparse
import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from cxrlib import arguments, runs
from cxrlib.data import dataset
from cxrlib.formatting import PERCENT_SIGN, RATES
from cxrlib.runs.config import TrainingConfig, for_network

ROOT = Path(__file__).resolve().parent.parent
FILE = Path(__file__).with_suffix(".csv")
ROWS = re.compile(r"^\| ([^|]+) \| `python train\.py ([^`]+)` \|", re.MULTILINE)
MEASURES = {"roc_auc": "ROC-AUC", "accuracy": "accuracy", "sensitivity": "sensitivity"} | {
    "specificity": "specificity"
}
FIELDS = ("experiment", "seed", "images", "size", "epochs", *MEASURES, "minutes")


def experiments() -> dict[str, str]:
    """The commands of the table in docs/training.md by their titles."""
    return dict(ROWS.findall((ROOT / "docs" / "training.md").read_text(encoding="utf-8")))


def config_of(line: str) -> TrainingConfig:
    given = vars(arguments.parser().parse_args(["train", *shlex.split(line)]))
    values = {name: given[name] for name in TrainingConfig.model_fields if name in given}
    return TrainingConfig(**for_network(values.pop("network"), **values))


def smaller(line: str, options: argparse.Namespace) -> str:
    """A command with fewer epochs and smaller images."""
    asked = config_of(line)
    if options.epochs and asked.network != "cnn":
        for name in ("head_epochs", "fine_tune_epochs"):
            line += f" --{name.replace('_', '-')} {min(getattr(asked, name), options.epochs)}"
    if options.size and "--size" not in line:
        line += f" --size {options.size}"
    return line


def some_patients(data: Path, count: int, folder: Path) -> Path:
    """A data set of that many images of the one in ``data``, whole patients drawn at random."""
    if folder.is_dir():
        return folder
    table = dataset.index(data)
    root = Path(table.attrs["root"])
    table = table[table.split == "train"]
    patients = np.random.default_rng(0).permutation(table.patient.unique())
    table = table.set_index("patient").loc[patients].head(count)
    for path in table.path:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to((root / path).resolve())
    return folder


def train(name: str, line: str, data: Path, models: Path) -> None:
    """Train a run, or resume it."""
    command = ["train", *shlex.split(line), "--name", name, "--data", str(data)]
    if (models / name).is_dir():
        command = ["train", "--resume", name]
    subprocess.run(
        [sys.executable, "-m", "cxrlib", *command, "--models", str(models)],
        cwd=ROOT,
        env=os.environ | {"CXR_CACHE_DIR": str(models.resolve() / "cache")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def add(title: str, line: str, seed: int, data: Path, models: Path) -> None:
    name = f"{re.sub(r'[^a-z0-9]+', '-', title.lower())}-{seed}"
    before = os.times().children_user
    if not (models / name / "metrics.json").is_file():
        train(name, f"{line} --seed {seed}", data, models)
    minutes = (os.times().children_user - before) / 60
    run = runs.find(name, models=models)
    found = run.metrics["splits"]["validation"]["points"]["fixed_50"]
    values = {measure: round(found[measure]["value"], 4) for measure in MEASURES}
    row = {"experiment": title, "seed": seed, "size": run.config["size"], **values}
    row |= {
        "images": len(dataset.index(data)),
        "epochs": len(run.history),
        "minutes": round(minutes, 1),
    }
    with FILE.open("a", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS)
        if not file.tell():
            table.writeheader()
        table.writerow(row)


def print_table() -> None:
    table = pd.read_csv(FILE)
    titles = " | ".join(MEASURES.values())
    print(f"| experiment | seeds | images | px | epochs | {titles} | minutes |")
    print("|---" * (6 + len(MEASURES)) + "|")
    for title, of in table.groupby("experiment", sort=False):
        cells = [spread(of[name], digits=0) for name in ("images", "size", "epochs")]
        cells += [
            spread(100 * of[name], digits=1, unit=PERCENT_SIGN)
            if name in RATES
            else spread(of[name], digits=3)
            for name in MEASURES
        ]
        cells.append(spread(of.minutes, digits=1))
        print(f"| {title} | {len(of)} | {' | '.join(cells)} |")


def spread(values: pd.Series, digits: int, unit: str = "") -> str:
    """Mean and range; one number where there is no other."""
    low, high = values.min(), values.max()
    if low == high:
        return f"{low:.{digits}f}{unit}"
    return f"{values.mean():.{digits}f}{unit} ({low:.{digits}f} to {high:.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="data-set folder")
    parser.add_argument("--keep", type=Path, help="folder for the runs and decoded images")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, help="so many of the data set, whole patients")
    parser.add_argument("--size", type=int)
    parser.add_argument("--epochs", type=int, help="at most, of each phase, of pretrained networks")
    parser.add_argument("--weights", nargs="*", default=[], metavar="NETWORK=FILE")
    parser.add_argument("--online", action="store_true")
    parser.add_argument("--only", nargs="*", metavar="TITLE", help="parts of titles")
    options = parser.parse_args()
    if options.data:
        if not options.keep:
            parser.error("--keep says where the runs go")
        options.keep.mkdir(parents=True, exist_ok=True)
        data = options.data
        if options.images:
            data = some_patients(data, options.images, options.keep / f"data-{options.images}")
        weights = dict(one.split("=", 1) for one in options.weights)
        done = pd.read_csv(FILE) if FILE.is_file() else pd.DataFrame(columns=FIELDS)
        known = set(zip(done.experiment, done.seed, strict=True))
        for seed in range(options.seeds):  # a seed of all before the next
            for title, line in experiments().items():
                if options.only and not any(part in title for part in options.only):
                    continue
                network = config_of(line).network
                if network != "cnn" and network not in weights and not options.online:
                    continue
                if (title, seed) in known:
                    continue
                line = smaller(line, options)
                if network in weights:
                    line += f" --weights {shlex.quote(str(Path(weights[network]).resolve()))}"
                add(title, line, seed, data, options.keep)
    print_table()


if __name__ == "__main__":
    main()

"""Does a run travel to a machine it never saw?

    python benchmarks/held_out_machines.py --data chest_xray --keep FOLDER --weights FILE.h5

Groups the images by the machine they look to be from (`cxrlib.evaluation.machines`). Each group
that has enough images of both classes is held out in turn: a run is trained and validated on the
others, and judged on that group, with and without the augmentation that lends images each other's
looks. What FOLDER has already is not trained again, so the table can be made in pieces.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.evaluation import machines, stress
from cxrlib.evaluation.stress_table import shown
from cxrlib.images import radiograph
from cxrlib.inference import ensemble
from cxrlib.labels import is_pneumonia
from cxrlib.runs.config import TrainingConfig
from cxrlib.training.train import train

LEAST = 100  # images of each class, for a group to be held out
MOST = 800  # images of it that are read
RECIPE = {
    "network": "mobilenetv2",
    "size": 96,
    "head": "evidence",
    "crop": "lungs",
    "synthetic_opacity_ratio": 0.5,
    "imbalance": "oversample",
    "head_epochs": 0,
    "fine_tune_epochs": 3,
    "learning_rate": 4e-4,
}
AUGMENTATIONS = ("strong", "machines")
MEASURES = ("roc_auc", "sensitivity", "specificity")


def grouped(data: Path) -> pd.DataFrame:
    """The index with a column ``machine``, the largest group 0."""
    table = dataset.index(data)
    images = (radiograph.read_file(data / path).pixels for path in table.path)
    return table.assign(machine=machines.groups(images))


def without(table: pd.DataFrame, machine: int, data: Path, folder: Path) -> Path:
    """A folder like ``data`` that lacks one machine's images."""
    if folder.exists():
        shutil.rmtree(folder)
    for path in table.path[table.machine != machine]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to((data / path).resolve())
    return folder


def run_of(name: str, seed: int, augmentation: str, data: Path, options: argparse.Namespace):
    finished = {run.name: run for run in runs.finished(options.keep)}
    if name in finished:
        return finished[name]
    config = TrainingConfig(
        **RECIPE, name=name, weights=options.weights, augmentation=augmentation, seed=seed
    )
    begun = next((run for run in runs.unfinished(options.keep) if run.name == name), None)
    return train(config, data, models=options.keep, run=begun)


def main(options: argparse.Namespace) -> None:
    table = grouped(options.data)
    counts = pd.crosstab(table.machine, is_pneumonia(table.label))
    print(counts.rename(columns={False: "normal", True: "pneumonia"}).to_string(), flush=True)
    titles = ["held out", "augmentation", "seed", *MEASURES]
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|", flush=True)
    for seed in options.seeds:
        for machine in counts.index[(counts >= LEAST).all(axis=1)]:
            rest = without(table, machine, options.data, options.keep / f"without-{machine}")
            for augmentation in AUGMENTATIONS:
                name = f"without-{machine}-{augmentation}-{seed}"
                reader = ensemble.load(run_of(name, seed, augmentation, rest, options))
                held_out = table[table.machine == machine]
                held_out = held_out.sample(min(MOST, len(held_out)), random_state=0)
                found = stress.measure(reader, held_out, split="held out", shifts=[]).iloc[0]
                figures = [shown(found, measure) for measure in MEASURES]
                cells = [str(machine + 1), augmentation, str(seed), *figures]
                print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    main(parser.parse_args())

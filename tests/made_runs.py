"""Finished runs made of drawn scores, for tests that need several runs but no network."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib import runs
from cxrlib.evaluation import judge, model_card
from cxrlib.inference import methods
from cxrlib.runs import config, contents, ensembles

ENVIRONMENT = {"cxrlib": "0", "keras": "3", "backend": "none", "device": "none"}
CNN = {"network": "cnn", "weights": "none", "head_epochs": 0, "size": 150}
HISTORY = pd.DataFrame(
    {
        "phase": ["head", "fine-tune", "fine-tune"],
        "epoch": [1, 1, 2],
        "loss": [0.7, 0.4, 0.2],
        "val_loss": [0.6, 0.4, 0.3],
        "val_auc": [0.8, 0.9, 0.92],
        "val_sensitivity": [0.8, 0.9, 0.9],
        "val_specificity": [0.6, 0.7, 0.8],
    }
)


def pictures(count: int = 240) -> pd.DataFrame:
    """Rows as of `dataset.index`, half validation and half test; two images a patient."""
    number = np.arange(count)
    label = np.where(number % 3 == 0, "NORMAL", "PNEUMONIA")
    subtype = np.where(label == "NORMAL", "", np.where(number % 3 == 1, "bacterial", "viral"))
    names = [f"{kind}/{n:04d}.jpeg" for kind, n in zip(label, number, strict=True)]
    split = np.where(number < count // 2, "validation", "test")
    return pd.DataFrame(
        {
            "split": split,
            "path": [f"{side}/{name}" for side, name in zip(split, names, strict=True)],
            "label": label,
            "subtype": subtype,
            "patient": [f"{kind}{n // 6}" for kind, n in zip(label, number, strict=True)],
        }
    )


def make_run(
    models: Path, name: str, table: pd.DataFrame, *, separation: float = 3.0, **asked: object
) -> runs.Run:
    """A finished run whose scores tell the classes of ``table`` apart by ``separation``."""
    rng = np.random.default_rng(len(name))
    ill = (table.label == "PNEUMONIA").to_numpy()
    score = 1 / (1 + np.exp(-1.5 * (separation * (ill - 0.5) + rng.normal(size=len(table)))))
    wanted = config.TrainingConfig(name=name, **asked)
    return _finished(models, wanted, table, np.column_stack([1 - score, score]))


def make_three_class_run(models: Path, name: str, table: pd.DataFrame) -> runs.Run:
    """A finished run that tells bacterial from viral, not very well."""
    wanted = config.TrainingConfig(name=name, classes=3, head="softmax")
    truth = judge.class_numbers(table, wanted.class_names)
    raised = 2 * np.eye(3)[truth] + np.random.default_rng(3).normal(size=(len(table), 3))
    distribution = np.exp(raised) / np.exp(raised).sum(axis=1, keepdims=True)
    # So sure that bacterial and viral have no share.
    distribution[0] = 1, 0, 0
    return _finished(models, wanted, table, distribution)


def _finished(
    models: Path, wanted: config.TrainingConfig, table: pd.DataFrame, distribution: np.ndarray
) -> runs.Run:
    name = wanted.name
    predictions, found = judge.evaluate(table, distribution, wanted.class_names)
    run = runs.create(name, models=models)
    run.save_config(wanted.model_dump_json())
    run.save_environment(ENVIRONMENT)
    run.save_history(HISTORY)
    run.finish(predictions, found, model_card.card(wanted, ENVIRONMENT, found))
    return run


def shipped_member() -> runs.Run:
    """One of the networks that the shipped run is the mean of."""
    return ensembles.networks(runs.find(runs.SHIPPED))[0]


def copy_shipped(models: Path) -> None:
    """The shipped run, and the networks it is the mean of, in another folder."""
    shipped = runs.find(runs.SHIPPED)
    for run in (shipped, *ensembles.networks(shipped)):
        shutil.copytree(run.folder, models / run.name)


def make_runs(models: Path, table: pd.DataFrame) -> list[runs.Run]:
    """A good run, one that was trained plainly, and one that lacks every fifth image."""
    return [
        make_run(models, "good", table, separation=4.0),
        make_run(models, "plain", table, separation=2.5, augmentation="none", imbalance="none"),
        make_run(models, "partial", table[table.index % 5 > 0], separation=2.5, **CNN),
    ]


def stress_results() -> pd.DataFrame:
    """As of `stress.measure`: one mild and one strong step, and another hospital."""
    steps = [
        ("test", "unchanged", "none", 0.0, 0.0),
        ("test", "gamma 0.8", "mild", 0.01, 0.0),
        ("test", "blur 0.4 %", "mild", 0.042, 0.005),
        ("test", "blur 1 %", "strong", 0.2, 0.05),
        ("abroad", "unchanged", "none", np.nan, np.nan),
    ]
    rows = []
    for pictures_of, step, strength, changed, reversed_ in steps:
        row = {"pictures_of": pictures_of, "step": step, "group": "any", "strength": strength}
        row |= {"pictures": 120, "patients": 60, "pneumonia": 80}
        values = dict.fromkeys(contents.STRESS_ESTIMATES, 0.9) | {
            "changed": changed,
            "reversed": reversed_,
        }
        for name, value in values.items():
            row |= {name: value, f"{name}_low": value * 0.9, f"{name}_high": value * 1.1}
        rows.append(row)
    return pd.DataFrame(rows)


def faithfulness_table() -> pd.DataFrame:
    """As of `faithfulness.measure`, of one method and the map of chance."""
    return pd.DataFrame(
        {"method": method, "measure": name, "value": value, "low": value - 0.1, "high": value + 0.1}
        | {"pictures": 12}
        for method, name, value in (
            ("gradcam", "gain", 2.5),
            ("gradcam", "untrained", 0.1),
            (methods.RANDOM, "gain", 0.0),
        )
    )

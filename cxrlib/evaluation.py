"""From a network's outputs to a run's predictions, metrics and model card. No Keras."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cxrlib import classes, metrics, stress, tables
from cxrlib.config import TrainingConfig
from cxrlib.plots import percent
from cxrlib.points import DEFAULT_POINT, POINT_TITLES
from cxrlib.run_folder import Run, RunError
from cxrlib.shifts import UNCHANGED

METRIC_TITLES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC (average precision)",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity (recall)",
    "specificity": "Specificity",
    "precision": "Precision (PPV)",
    "npv": "Negative predictive value",
    "f1": "F1",
    "balanced_accuracy": "Balanced accuracy",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}
# Of a run's metrics: whether it was trained on the Kaggle set's train and val folders, all of them.
OF_KAGGLE = "of_kaggle"
_RESULTS = "## Results"  # what stands above it in a card says how the run was made


def class_numbers(table: pd.DataFrame, class_names: Sequence[str]) -> np.ndarray:
    """The class of each picture as ``int [n]``, an index into ``class_names``.

    With three classes a pneumonia picture's class is its subtype; -1 where its name says none.
    """
    named = table.label
    if "PNEUMONIA" not in class_names:
        named = table.label.where(table.label == "NORMAL", table.subtype.str.upper())
    numbers = {name: number for number, name in enumerate(class_names)}
    return named.map(numbers).fillna(-1).to_numpy(np.int64)


def as_distribution(outputs: np.ndarray) -> np.ndarray:
    """A head's outputs, sigmoid ``[n, 1]`` or softmax ``[n, classes]``, as ``[n, classes]``."""
    if outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs


def judge(
    table: pd.DataFrame, distribution: np.ndarray, class_names: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """What a run's ``predictions.csv`` and ``metrics.json`` hold.

    Calibration and operating points are chosen on the rows whose ``split`` is ``validation``;
    every split is then measured with them.

    Args:
        table: rows of `dataset.index`, with ``split`` set to the run's own folds.
        distribution: ``[len(table), classes]``, the network's uncalibrated probabilities.
        class_names: the classes in order, NORMAL first.

    Returns:
        Predictions, with ``score`` (uncalibrated) and ``probability`` (calibrated) of pneumonia
        and, for three classes, the calibrated probability of each; and metrics.
    """
    validation = (table.split == "validation").to_numpy()
    calibration = metrics.fit_calibration(
        distribution[validation], class_numbers(table[validation], class_names)
    )
    predictions = predict_table(table, distribution, class_names, calibration)
    held_out = predictions[validation]
    points = metrics.operating_points(
        held_out.label == "PNEUMONIA", held_out.probability, groups=held_out.patient
    )
    return predictions, {
        "classes": list(class_names),
        "calibration": vars(calibration),
        "default_point": DEFAULT_POINT,
        "operating_points": {
            name: {"threshold": point.threshold, "low": point.low, "high": point.high}
            for name, point in points.items()
        },
        "splits": {split: measure(rows, points) for split, rows in predictions.groupby("split")},
    }


def predict_table(
    table: pd.DataFrame,
    distribution: np.ndarray,
    class_names: Sequence[str],
    calibration: metrics.Calibration,
) -> pd.DataFrame:
    """One row a picture: split, path, label, subtype, patient, score, probability."""
    calibrated = calibration.apply(distribution)
    predictions = table[["split", "path", "label", "subtype", "patient"]].reset_index(drop=True)
    predictions["score"] = 1 - distribution[:, 0].astype(np.float64)
    predictions["probability"] = 1 - calibrated[:, 0]
    if len(class_names) > 2:
        for number, name in enumerate(class_names):
            predictions[name.lower()] = calibrated[:, number]
    return predictions


def measure(
    predictions: pd.DataFrame, points: Mapping[str, metrics.OperatingPoint]
) -> dict[str, Any]:
    """Every metric of a set of predictions, with intervals, at each operating point.

    Of a run with three classes also which is taken for which, as ``by_class``.
    """
    truth = (predictions.label == "PNEUMONIA").to_numpy()
    three = "bacterial" in predictions
    return {
        "pictures": len(predictions),
        "patients": int(predictions.patient.nunique()),
        "pneumonia": int(truth.sum()),
        "ece_uncalibrated": metrics.expected_calibration_error(truth, predictions.score),
        "points": {
            name: metrics.summary_to_json(
                metrics.summarize(
                    truth,
                    predictions.probability,
                    threshold=point.threshold,
                    groups=predictions.patient,
                )
            )
            for name, point in points.items()
        },
    } | ({"by_class": classes.by_class(predictions).to_json()} if three else {})


def read_points(run_metrics: Mapping[str, Any]) -> dict[str, metrics.OperatingPoint]:
    """The operating points that a run's ``metrics.json`` holds."""
    return {
        name: metrics.OperatingPoint(name, **ends)
        for name, ends in run_metrics["operating_points"].items()
    }


def read_calibration(run_metrics: Mapping[str, Any]) -> metrics.Calibration:
    """The calibration that a run's ``metrics.json`` holds."""
    stored = run_metrics["calibration"]
    return metrics.Calibration(stored["temperature"], tuple(stored["offsets"]))


def held_out(run: Run, table: pd.DataFrame) -> pd.Series:
    """Which pictures of an index a run was validated on, ``bool`` aligned with ``table``.

    By the run's record: a folder with one picture more or less would be split otherwise, and
    pictures that the run was trained on would pass for held out.

    Raises:
        RunError: the index lacks some of them, or the run's files are damaged.
    """
    paths = run.predictions.query("split == 'validation'").path
    missing = paths[~paths.isin(table.path)]
    if len(missing):
        raise RunError(
            f"The run {run.name} was validated on {len(paths)} pictures, of which {len(missing)} "
            f"are not in this folder ({missing.iloc[0]} is one). Name the folder that it was "
            "trained on, as it was then, or measure the run on another split."
        )
    return table.path.isin(paths)


def estimates(
    run_metrics: Mapping[str, Any], split: str, point: str
) -> dict[str, metrics.Estimate]:
    """A run's metrics on one split at one operating point."""
    return metrics.summary_from_json(run_metrics["splits"][split]["points"][point])


def split_titles(run_metrics: Mapping[str, Any]) -> dict[str, str]:
    """What the splits that a run can be measured on are called."""
    return {
        "test": "official test" if run_metrics.get(OF_KAGGLE) else "test",
        "validation": "validation",
    }


_RARER = 0.1  # a share of pneumonia that a reader may well meet


def trust(run_metrics: Mapping[str, Any], point: str, probability: float) -> str:
    """How far to trust a run and the probability that it gave, in sentences for its reader."""
    sentences, titles = [], split_titles(run_metrics)
    for split, measured in run_metrics["splits"].items():
        found = estimates(run_metrics, split, point)
        sentences.append(
            f"On {measured['pictures']} {titles[split]} pictures of {measured['patients']} "
            f"patients it had not been trained on, it found {_range(found['sensitivity'])} of "
            f"the pneumonias and cleared {_range(found['specificity'])} of the normal pictures."
        )
        if by_class := classes.read(measured):
            sentences.append(
                f"It told normal, bacterial and viral apart in {_range(by_class.accuracy)} of them."
            )
    if "test" not in run_metrics["splits"]:
        sentences.append(f"On {titles['test']} pictures it was not measured.")
    validation = run_metrics["splits"]["validation"]
    share = validation["pneumonia"] / validation["pictures"]
    rarer = metrics.at_prevalence(probability, share, _RARER)
    return " ".join(
        [
            *sentences,
            "Threshold and calibration were chosen on these validation pictures, which makes the "
            "figures of validation somewhat too good. The probability is for a share of pneumonia "
            f"like theirs, {percent(share)}: where {percent(_RARER)} have pneumonia, "
            f"{percent(probability)} become {percent(rarer)}.",
            "All of them are children from one hospital. On adults, at another hospital or with "
            "another machine, expect more errors."
            if run_metrics.get(OF_KAGGLE)
            else "All of them are of the set that it was trained on. On other patients, at another "
            "hospital or with another machine, expect more errors.",
        ]
    )


def _range(estimate: metrics.Estimate) -> str:
    shown = f"{estimate.value:.0%} ({estimate.low:.0%} to {estimate.high:.0%})"
    return shown.replace("%", "\N{NO-BREAK SPACE}%")


def card(
    config: TrainingConfig, environment: Mapping[str, Any], run_metrics: Mapping[str, Any]
) -> str:
    """The model card, Markdown, made from the run's own records alone."""
    lines = [
        "# Model card",
        "",
        "**For education and research, not for diagnosis.** Reads frontal chest radiographs for "
        "pneumonia and gives a calibrated probability.",
        "",
        "## Trained on",
        (
            "The train and val folders of the Kaggle set `paultimothymooney/chest-xray-pneumonia` "
            "(Kermany et al. 2018, CC BY 4.0): children of one to five years from one hospital."
            if run_metrics.get(OF_KAGGLE)
            else "A folder in the layout of the Kaggle set `paultimothymooney/"
            "chest-xray-pneumonia`, not the whole of that set."
        )
        + f" Whole patients, {config.validation_share:.0%} of each class, were held out for "
        "validation.",
        "",
        "## How",
        _how(config),
        "",
        f"Keras {environment['keras']} on {environment['backend']}, {environment['device']}.",
        "",
        *results_and_limits(run_metrics),
    ]
    return "\n".join(lines) + "\n"


def _how(config: TrainingConfig) -> str:
    """What a run was asked to do, in sentences."""
    said = [
        f"{config.network}, {config.size} px, classes {', '.join(config.class_names)}; "
        f"starting weights {config.weights}; {config.head_epochs} epochs for the head, up to "
        f"{config.fine_tune_epochs} of fine-tuning with {config.optimizer} at {config.rate:g}; "
        f"augmentation {config.augmentation}; imbalance: {config.imbalance}; seed {config.seed}.",
        "It sees the box around the lungs, found by a network of its own and set to a standard "
        "frame."
        if config.view == "lungs"
        else "It sees the whole picture, squashed to a square.",
    ]
    if config.repaint:
        said.append("In training, what lies outside the lungs was often painted over.")
    if config.drawn_opacities:
        taught = ", taught as pneumonia" if config.taught_by == "labels" else ""
        said.append(
            f"To the normal pictures {config.drawn_opacities:.0%} were added that had opacities "
            f"drawn into their lungs{taught}."
        )
    if config.taught_by == "run":
        said.append(
            "It learned to give changed pictures the log-odds that the run it began with gives "
            "them unchanged (Ba and Caruana, NeurIPS 2014), its normalization frozen."
        )
    if config.consistency:
        said.append(
            "Two random variants of each picture also had to be read alike (R-Drop, Liang et al., "
            f"NeurIPS 2021; weight {config.consistency:g})."
        )
    if config.kept_share:
        said.append(
            "Its weights are a mean of those of the run it began with, head included, and those "
            f"reached, of which the former count {config.kept_share:.0%} (after WiSE-FT, Wortsman "
            "et al., CVPR 2022)."
        )
    if config.gathers_statistics:
        said.append(
            "Batch-normalization statistics were gathered anew on "
            f"{config.batch_statistics} training pictures."
        )
    return " ".join(said)


def results_and_limits(
    run_metrics: Mapping[str, Any], stress_table: pd.DataFrame | None = None
) -> list[str]:
    """The lines of a model card that any run has, trained or an ensemble."""
    point = run_metrics["default_point"]
    calibration = read_calibration(run_metrics)
    lines = [
        _RESULTS,
        "95 % intervals in brackets: Wilson for proportions, bootstrap by patient for the rest. "
        f"Calibration (temperature {calibration.temperature:.2f}, class offsets "
        f"{', '.join(f'{offset:.2f}' for offset in calibration.offsets)}; Alexandari et al., ICML "
        "2020) and operating points were chosen on validation; the validation figures are "
        "therefore somewhat too good.",
    ]
    for split, measured in run_metrics["splits"].items():
        found = estimates(run_metrics, split, point)
        threshold = run_metrics["operating_points"][point]["threshold"]
        lines += [
            "",
            f"### {split}: {measured['pictures']} pictures of {measured['patients']} patients, "
            f"{measured['pneumonia']} with pneumonia",
            f"At the operating point {POINT_TITLES[point]}, probability ≥ {threshold:.3f}:",
            "",
            "| metric | value |",
            "|---|---|",
            *(f"| {title} | {found[name]} |" for name, title in METRIC_TITLES.items()),
            f"| the same before calibration | {measured['ece_uncalibrated']:.3f} |",
        ]
        if by_class := classes.read(measured):
            lines += [
                "",
                f"{by_class.sentence()} The most probable class, for each true one:",
                "",
                *tables.markdown(by_class.table()),
            ]
    if "test" not in run_metrics["splits"]:
        title = split_titles(run_metrics)["test"]
        lines += ["", f"The {title} folder was not at hand: **not measured** on it."]
    if stress_table is not None:
        lines += stress.card_section(stress_table)
    of_kaggle = run_metrics.get(OF_KAGGLE)
    lines += [
        "",
        "## Limits",
        (
            "- Children from one hospital. On adults, other hospitals, other machines"
            if of_kaggle
            else "- On other patients than those of its set, other hospitals, other machines"
        )
        + ", expect more errors"
        + (
            ", as on the pictures from elsewhere above."
            if stress_table is not None and (stress_table.step == UNCHANGED.name).sum() > 1
            else "; not measured here."
        ),
    ]
    if of_kaggle:
        lines += [
            "- On the official test folder, networks trained this way keep their sensitivity and "
            "lose specificity: they call healthy children ill more often than validation promises.",
            "- In this set the picture's shape and resolution alone tell the classes apart to a "
            "good part. Augmentation hides much of that from the network, not all.",
        ]
    lines += [
        "- The probability holds for a share of pneumonia like that of the validation pictures; "
        "where pneumonia is rarer, it is too high.",
        "- Most pictures that are no frontal chest radiographs are turned away, not all.",
        "- A heatmap shows what the network used, not where the disease is.",
    ]
    return lines


def rewrite_card(run: Run) -> None:
    """Bring a finished run's model card up to date with what has been measured since.

    Raises:
        RunError: the run's files are missing or damaged.
    """
    made, _, _ = run.card.partition(_RESULTS)
    run.save_card(made + "\n".join(results_and_limits(run.metrics, run.stress)) + "\n")
